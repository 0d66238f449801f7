"""Clean image to the same scene in bad weather (NumPy)."""

from cmudrn.weather.patches import PatchWeather
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.weather import Degraded, Weather

__all__ = ["WEATHERS", "Degraded", "PatchWeather", "Weather"]
