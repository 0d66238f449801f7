"""Rain as the paper makes it: many screens of rain, far to near, added with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image
from cmudrn.weather.particles import Particles, lay_particles
from cmudrn.weather.weather import Degraded, Range

Screens = NDArray[np.uint8]
"""(n, h, w) brightness of screens; each tiles in both directions."""
SCREEN = (512, 768)
"""Size of a screen we render; larger pictures see it repeated."""


@dataclass(frozen=True)
class Layer:
    """One of the generator's three layers and what its screens hold.

    Attributes:
        crops: windows of screens added for each picture.
        screens: different screens they come from.
        weight: of each window.
        per_megapixel: streaks of a screen.
        length_px: median length of a streak.
        width_px: median width of a streak.
        blur_px: softness of the edges.
    """

    crops: int
    screens: int
    weight: Range
    per_megapixel: float
    length_px: float
    width_px: float
    blur_px: float


PAPER_LAYERS = {
    "dense": Layer(8, 8, (0.25, 0.45), 1750, 9.0, 1.6, 1.0),
    "middle": Layer(48, 8, (0.20, 0.35), 53, 85.0, 6.0, 2.0),
    "sparse": Layer(18, 3, (0.10, 0.20), 5.0, 270.0, 17.0, 2.0),
}
"""Counts and weights as in the paper's generator; streaks as its filters leave them."""


@dataclass(frozen=True)
class LayeredRain:
    """The paper's rain: purely additive white streaks of three sizes.

    Attributes:
        layers: by name.
        seed: of the screens, which are rendered at first use.
        variety: screens rendered for each layer.
        strength: factor on the weights.
    """

    seed: int = 0
    variety: int = 24
    strength: float = 1.0

    def __call__(self, clean: Image, rng: np.random.Generator) -> Degraded:
        """Return the scene in rain, with its "streaks"."""
        shape = (clean.shape[0], clean.shape[1])
        streaks = np.zeros(shape, np.float32)
        for name, layer in PAPER_LAYERS.items():
            library = render_screens(name, self.seed, self.variety)
            streaks += _blend(library, layer, shape, rng)
        streaks *= np.float32(self.strength)
        return Degraded(np.clip(clean + streaks[..., None], 0, 1), {"streaks": streaks}, {})


def _blend(
    library: Screens, layer: Layer, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the weighted sum of random windows of random screens."""
    chosen = rng.permutation(len(library))[: layer.screens]
    which = np.repeat(chosen, layer.crops // layer.screens)
    weights = rng.uniform(*layer.weight, layer.crops).astype(np.float32) / 255
    tops, lefts = (rng.integers(0, side, layer.crops) for side in library.shape[1:])
    total = np.zeros(shape, np.float32)
    for screen, weight, top, left in zip(which, weights, tops, lefts, strict=True):
        total += weight * _window(library[screen], top, left, shape)
    return total


def _window(screen: NDArray[np.uint8], top: int, left: int, shape: tuple[int, int]) -> Screens:
    """Return a window of a screen that repeats in both directions."""
    height, width = screen.shape
    if top + shape[0] <= height and left + shape[1] <= width:
        return screen[top : top + shape[0], left : left + shape[1]]
    rows = np.arange(top, top + shape[0]) % height
    columns = np.arange(left, left + shape[1]) % width
    return screen[rows[:, None], columns]


@cache
def render_screens(name: str, seed: int, variety: int) -> Screens:
    """Return (variety, h, w) screens of a layer, always the same for a seed."""
    rng = np.random.default_rng([seed, *name.encode()])
    layer = PAPER_LAYERS[name]
    screens = np.empty((variety, *SCREEN), np.uint8)
    for screen in screens:
        streaks = lay_particles(_screen_streaks(layer, rng), SCREEN, wrap=True)
        screen[:] = np.rint(255 * streaks)
    return screens


def _screen_streaks(layer: Layer, rng: np.random.Generator) -> Particles:
    # Brightness and shear of the published screens: a third bright, half medium, the rest faint.
    brightness = rng.choice([0.50, 0.24, 0.10], p=[0.32, 0.52, 0.16])
    shear = rng.choice([-0.2, -0.1, 0.0, 0.1, 0.2])
    count = int(layer.per_megapixel * SCREEN[0] * SCREEN[1] / 1e6 * rng.lognormal(0, 0.3))
    width = layer.width_px * rng.lognormal(0, 0.3, count)
    values = (
        rng.uniform(0, SCREEN[1], count),
        rng.uniform(0, SCREEN[0], count),
        np.maximum(layer.length_px * rng.lognormal(0, 0.45, count), width),
        width,
        np.arctan(shear) + np.radians(rng.normal(0, 1.0, count)),
        brightness * rng.lognormal(0, 0.25, count),
        np.maximum(1, width * 0.5 + layer.blur_px),
        rng.uniform(0.2, 0.8, count),
        np.zeros(count),
        np.zeros(count),
    )
    return Particles(*(v.astype(np.float32) for v in values))
