"""Rain at night: streaks shine where lamps are behind or beside them, and are dark elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats, composite_particles
from cmudrn.weather.rain import Rain, RainScene, composite_light
from cmudrn.weather.weather import Degraded, Weather, draw

LAMPS = 4
"""Greatest number of lamps in or near a picture."""


@dataclass(frozen=True, kw_only=True)
class LitRain(Weather):
    """Streaks as bright as the light about them.

    Attributes:
        rain: the streaks.
        ambient: share of the light that is everywhere.
    """

    kind = "rain"

    rain: Rain
    ambient: tuple[float, float] = (0.0, 0.5)

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> LitScene:
        """Return rain and lamps drawn for pictures of (H, W) pixels."""
        rain = replace(self.rain, severity=self.severity).scene(shape, rng)
        return LitScene(rain, draw_lamps(shape, rng, draw(rng, self.ambient)))


@dataclass(frozen=True)
class LitScene:
    """Streaks, and how bright the light is where they fall."""

    rain: RainScene
    lamps: Floats

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in rain, with its "streaks"."""
        shape = (clean.shape[0], clean.shape[1])
        moved = self.rain.streaks.moved(frame, shape, self.rain.margin)
        streaks = composite_particles(moved, shape) * self.lamps
        light = np.asarray(self.rain.parameters["light"], np.float32)
        return Degraded(
            composite_light(clean, streaks, light, self.rain.parameters["attenuates"]),
            {"streaks": streaks},
            self.rain.parameters,
        )

    def reduced(self, factor: int) -> LitScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        height, width = (side // factor * factor for side in self.lamps.shape)
        lamps = self.lamps[factor // 2 : height : factor, factor // 2 : width : factor]
        return replace(self, rain=self.rain.reduced(factor), lamps=lamps)


def draw_lamps(shape: tuple[int, int], rng: np.random.Generator, ambient: float) -> Floats:
    """Return (H, W) light in [0, 1] about a few lamps, ambient away from them."""
    light = np.full(shape, ambient, np.float32)
    size = max(shape)
    for _ in range(int(rng.integers(1, LAMPS + 1))):
        reach = size * rng.uniform(0.1, 0.6)
        rows, columns = (
            np.exp(-0.5 * ((np.arange(s) - rng.uniform(-0.2, 1.2) * s) / reach) ** 2) for s in shape
        )
        light += np.float32(rng.uniform(0.4, 1.0)) * np.outer(rows, columns).astype(np.float32)
    return np.clip(light, 0, 1)
