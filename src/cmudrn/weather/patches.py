"""Weather on training patches: the same families, ready at once and fast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import Image
from cmudrn.weather.haze import Hazy
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.snow import Snow
from cmudrn.weather.weather import Weather

SCENE_ROWS = 480
"""Height of the scene that a patch is a window of: the veil varies little across one."""


class PatchWeather:
    """Every weather by name, for patches of any size; built once in each worker process.

    Args:
        seed: of the cached rain screens.
    """

    def __init__(self, seed: int = 0) -> None:
        self.weathers = {name: _for_patches(w, seed) for name, w in WEATHERS.items()}

    def degrade(self, clean: Image, rng: np.random.Generator, family: str) -> Image:
        """Return clean, (h, w, 3) float32 RGB in [0, 1], in a weather.

        Raises:
            CmudrnError: there is no weather of that name.
        """
        if family not in self.weathers:
            names = ", ".join(self.weathers)
            raise CmudrnError(f"There is no weather {family!r}; there are {names}.")
        return self.weathers[family](clean, rng).degraded


def _for_patches(weather: Weather, seed: int) -> Weather:
    if isinstance(weather, LayeredRain):
        return replace(weather, seed=seed)
    if isinstance(weather, Snow | Hazy):
        return replace(weather, veil=replace(weather.veil, rows=SCENE_ROWS))
    return weather
