"""Weather in one part of a picture: a shower at the horizon, snow beside a roof."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats
from cmudrn.weather.weather import Degraded, Range, Scene, Weather, draw, draw_log


@dataclass(frozen=True, kw_only=True)
class Local(Weather):
    """Another weather on one side of a soft edge.

    Attributes:
        weather: what falls there.
        place: of the edge, as a share of the way across the picture.
        softness: width of the edge over the longer side (drawn by magnitude).
    """

    weather: Weather
    place: Range = (0.3, 0.7)
    softness: Range = (0.02, 0.4)

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> LocalScene:
        """Return the weather and where it falls, drawn for pictures of (H, W) pixels."""
        region = draw_region(shape, rng, draw(rng, self.place), draw_log(rng, self.softness))
        scene = replace(self.weather, severity=self.severity).scene(shape, rng)
        return LocalScene(scene, region)


@dataclass(frozen=True, kw_only=True)
class LocalRain(Local):
    """Rain in one part."""

    kind = "rain"


@dataclass(frozen=True, kw_only=True)
class LocalSnow(Local):
    """Snow in one part."""

    kind = "snow"


@dataclass(frozen=True)
class LocalScene:
    """Weather, and the (H, W) share of it in [0, 1] that falls at each pixel."""

    scene: Scene
    region: Floats

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame; its layers are those of the weather, times the region."""
        made = self.scene(clean, frame)
        degraded = clean + self.region[..., None] * (made.degraded - clean)
        layers = {name: layer * self.region for name, layer in made.layers.items()}
        share = {"share": round(float(self.region.mean()), 4)}
        return Degraded(np.clip(degraded, 0, 1), layers, made.parameters | share)

    def reduced(self, factor: int) -> LocalScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        height, width = (side // factor * factor for side in self.region.shape)
        blocks = self.region[:height, :width].reshape(
            height // factor, factor, width // factor, factor
        )
        return LocalScene(self.scene.reduced(factor), blocks.mean((1, 3)))


def draw_region(
    shape: tuple[int, int], rng: np.random.Generator, place: float, softness: float
) -> Floats:
    """Return (H, W) weights in [0, 1] that rise over an edge in a drawn direction.

    Args:
        shape: (H, W).
        rng: draws the direction.
        place: of the edge, 0 at one side of the picture and 1 at the other.
        softness: width of the edge over the longer side.
    """
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in shape)
    across = np.float32(np.cos(angle)) * rows[:, None] + np.float32(np.sin(angle)) * columns
    reach = (abs(np.cos(angle)) + abs(np.sin(angle))) / 2
    edge = np.float32((2 * place - 1) * reach)
    weights: Floats = np.clip((across - edge) / np.float32(softness) + np.float32(0.5), 0, 1)
    return weights
