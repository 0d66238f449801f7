"""Weather on training patches: the same families, ready at once and fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import Image
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.weather import Weather


class PatchWeather:
    """Every weather by name, for patches of any size; built once in each worker process.

    Args:
        seed: of the cached rain screens.
    """

    def __init__(self, seed: int = 0) -> None:
        self.weathers: dict[str, Weather] = {
            name: replace(weather, seed=seed) if isinstance(weather, LayeredRain) else weather
            for name, weather in WEATHERS.items()
        }

    def degrade(self, clean: Image, rng: np.random.Generator, family: str) -> Image:
        """Return clean, (h, w, 3) float32 RGB in [0, 1], in a weather.

        Raises:
            CmudrnError: there is no weather of that name.
        """
        if family not in self.weathers:
            names = ", ".join(self.weathers)
            raise CmudrnError(f"There is no weather {family!r}; there are {names}.")
        return self.weathers[family](clean, rng).degraded
