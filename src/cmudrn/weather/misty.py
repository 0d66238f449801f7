"""Rain in mist: streaks before a scene whose far parts fade."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.haze import Haze, Veil
from cmudrn.weather.rain import Rain, RainScene
from cmudrn.weather.weather import Degraded, Weather


@dataclass(frozen=True, kw_only=True)
class MistyRain(Weather):
    """Streaks, and a veil behind them.

    Attributes:
        rain: the streaks.
        veil: the mist; it is denser in more severe weather.
    """

    kind = "rain"

    rain: Rain
    veil: Veil

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> MistyScene:
        """Return rain and mist drawn for pictures of (H, W) pixels."""
        rain = replace(self.rain, severity=self.severity).scene(shape, rng)
        return MistyScene(rain, self.veil.haze(shape, rng, self.severity))


@dataclass(frozen=True)
class MistyScene:
    """Streaks and mist drawn for a picture."""

    rain: RainScene
    haze: Haze

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame, with its "streaks", "transmission" and "airlight"."""
        fallen = self.rain(self.haze.composite(clean), frame)
        far, near = float(self.haze.transmission.min()), float(self.haze.transmission.max())
        return Degraded(
            fallen.degraded,
            fallen.layers
            | {"transmission": self.haze.transmission, "airlight": self.haze.airlight},
            fallen.parameters
            | {"transmission": [far, near], "airlight": self.haze.airlight.tolist()},
        )

    def reduced(self, factor: int) -> MistyScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        return MistyScene(self.rain.reduced(factor), self.haze.reduced(factor))
