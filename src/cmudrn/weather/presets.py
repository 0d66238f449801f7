"""All weathers by name."""

from __future__ import annotations

from cmudrn.weather.haze import Hazy, Veil
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.rain import Rain
from cmudrn.weather.snow import Flakes, Snow
from cmudrn.weather.weather import Weather
from cmudrn.weather.wider import WIDER

SMALL = Flakes((2000, 14000), (1.2, 4), (0.2, 0.8), softness=(0.6, 1.4))
MEDIUM = Flakes((30, 160), (5, 13), (0.2, 0.75), softness=(0.7, 1.6))
BOKEH = Flakes((12, 45), (15, 45), (0.08, 0.4), (1.0, 1.8), (1.2, 2.0))
STREAKS = Flakes((100, 4000), (1.5, 5), (0.1, 0.5), (3.5, 8), (0.6, 1.4), 0.0, 8.0)

WEATHERS: dict[str, Weather] = {
    "csd-rain": LayeredRain(),
    "light-rain": Rain(
        coverage=(0.03, 0.12),
        length_px=(12, 50),
        width_px=(1, 2.5),
        opacity=(0.35, 0.75),
        tilt_deg=(-25, 25),
    ),
    "rain-mixture": Rain(
        coverage=(0.01, 1.5),
        length_px=(8, 80),
        width_px=(1, 6),
        opacity=(0.15, 0.95),
        directions=4,
        tint=0.05,
    ),
    "csd-snow": Snow(layers=(SMALL, MEDIUM, BOKEH, STREAKS), veiled=1.0),
    "snow": Snow(layers=(SMALL, MEDIUM, BOKEH, STREAKS)),
    "light-snow": Snow(layers=(Flakes((300, 1500), (1.5, 6), (0.3, 0.9)), STREAKS)),
    "snow-mixture": Snow(
        layers=(
            Flakes((100, 12000), (1.2, 6), (0.2, 0.95), softness=(0.4, 1.4)),
            Flakes((10, 900), (5, 20), (0.2, 0.95), softness=(0.4, 1.6)),
            Flakes((3, 120), (17, 60), (0.1, 0.6), (1.0, 1.8), (0.9, 2.0)),
            Flakes((10, 3000), (1.2, 6), (0.1, 0.8), (3, 10), (0.4, 1.0), 0.0, 8.0),
        ),
        scale=(0.6, 1.7),
        fall_deg=(-80, 80),
        veiled=0.3,
    ),
    "haze": Hazy(veil=Veil((0.25, 0.9), (0.7, 1.0))),
    **WIDER,
}
