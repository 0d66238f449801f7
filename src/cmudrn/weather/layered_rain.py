"""Rain as the paper makes it: many screens of rain, far to near, added with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image
from cmudrn.weather.camera import Exposure
from cmudrn.weather.particles import Floats, Particles, composite_particles
from cmudrn.weather.weather import NORMAL, Degraded, Range, Weather

SCREEN = (512, 768)
"""Size of a screen we render; it tiles, so larger pictures see it repeated."""
SHEARS = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Leans of the published screens, `<n>-4` to `<n>-8`, all equally likely."""
LIGHTS, SHARES = (0.2, 0.35, 0.6), (0.3, 0.4, 0.3)
"""Published screens are faint, medium or bright, in these shares."""


@dataclass(frozen=True)
class Layer:
    """One of the three layers of the paper's generator.

    Attributes:
        crops: windows of screens added for each picture.
        screens: different screens they are cut from.
        weight: of each window.
        per_megapixel: streaks of a screen, median.
        exposure: what the generator's filters leave of the published screens, at the scale at
            which this layer shows them; its light is relative to the screen's.
        fall_px: movement from frame to frame.
    """

    crops: int
    screens: int
    weight: Range
    per_megapixel: float
    exposure: Exposure
    fall_px: float


PAPER_LAYERS = {
    "dense": Layer(
        8, 8, (0.25, 0.45), 200, Exposure(1 / 100, 1.2, 0.94, spread=0.4, blur_px=0.4), 20
    ),
    "middle": Layer(48, 8, (0.20, 0.35), 94, Exposure(1 / 200, 3.2, 1.03), 90),
    "sparse": Layer(18, 3, (0.10, 0.20), 7, Exposure(1 / 140, 7.0, 1.0, blur_px=2), 250),
}
"""Counts and weights are the generator's."""


@dataclass(frozen=True, kw_only=True)
class LayeredRain(Weather):
    """The paper's rain: white streaks of three sizes, purely additive.

    Attributes:
        seed: of the screens, which are rendered once in each process, at first use.
        variety: screens rendered for each layer.
    """

    kind = "rain"

    seed: int = 0
    variety: int = 24

    def scene(self, _shape: tuple[int, int], rng: np.random.Generator) -> LayeredScene:
        """Return rain drawn for pictures of any size."""
        layers = tuple(
            Windows.draw(layer, self.screens(name), rng) for name, layer in PAPER_LAYERS.items()
        )
        parameters = {
            "screens": [sorted(set(windows.which.tolist())) for windows in layers],
            "mean_weight": [float(windows.weights.mean()) for windows in layers],
        }
        return LayeredScene(layers, self.severity / NORMAL, parameters)

    def screens(self, name: str) -> Screens:
        """Return the screens of one of `PAPER_LAYERS`."""
        return render_screens(name, self.seed, self.variety)


@dataclass(frozen=True, eq=False)
class Screens:
    """(n, h, w) uint8 brightness of screens that tile, and the lean of each one's streaks."""

    pixels: NDArray[np.uint8]
    shears: Floats


@dataclass(frozen=True)
class Windows:
    """Where the windows of a layer lie on its screens, and how bright each is."""

    screens: Screens
    which: NDArray[np.int64]
    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    weights: Floats
    fall_px: float

    @classmethod
    def draw(cls, layer: Layer, screens: Screens, rng: np.random.Generator) -> Windows:
        """Return the random windows of a layer for one picture."""
        chosen = rng.permutation(len(screens.pixels))[: layer.screens]
        height, width = screens.pixels.shape[1:]
        return cls(
            screens,
            which=np.repeat(chosen, layer.crops // layer.screens),
            tops=rng.integers(0, height, layer.crops),
            lefts=rng.integers(0, width, layer.crops),
            weights=rng.uniform(*layer.weight, layer.crops).astype(np.float32),
            fall_px=layer.fall_px,
        )

    def blend(self, shape: tuple[int, int], frame: int) -> Floats:
        """Return the (H, W) weighted sum of the windows, some frames on."""
        fall = np.rint(self.fall_px * frame * (0.8 + 0.4 * np.modf(self.weights * 97)[0]))
        drift = np.rint(fall * self.screens.shears[self.which])
        tops, lefts = self.tops - fall.astype(int), self.lefts - drift.astype(int)
        total = np.zeros(shape, np.float32)
        for i, weight in enumerate(self.weights / np.float32(255)):
            screen = self.screens.pixels[self.which[i]]
            total += weight * cut_window(screen, int(tops[i]), int(lefts[i]), shape)
        return total

    def reduced(self, factor: int) -> Windows:
        """Return the windows for pictures with 1 / factor of the rows and columns."""
        return replace(
            self,
            screens=reduce_screens(self.screens, factor),
            tops=self.tops // factor,
            lefts=self.lefts // factor,
            fall_px=self.fall_px / factor,
        )


@dataclass(frozen=True)
class LayeredScene:
    """The windows of all layers, drawn for a picture or a sequence."""

    layers: tuple[Windows, ...]
    strength: float
    parameters: dict[str, Any]

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in rain, with its "streaks"."""
        shape = (clean.shape[0], clean.shape[1])
        streaks = np.zeros(shape, np.float32)
        for windows in self.layers:
            streaks += np.float32(self.strength) * windows.blend(shape, frame)
        degraded = np.clip(clean + streaks[..., None], 0, 1)
        return Degraded(degraded, {"streaks": streaks}, self.parameters)

    def reduced(self, factor: int) -> LayeredScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        layers = tuple(windows.reduced(factor) for windows in self.layers)
        return LayeredScene(layers, self.strength, self.parameters)


def cut_window(
    screen: NDArray[np.uint8], top: int, left: int, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the (H, W) window at a place of a screen that repeats in both directions."""
    height, width = screen.shape
    top, left = top % height, left % width
    if top + shape[0] <= height and left + shape[1] <= width:
        return screen[top : top + shape[0], left : left + shape[1]]
    rows = np.arange(top, top + shape[0]) % height
    columns = np.arange(left, left + shape[1]) % width
    return screen[np.ix_(rows, columns)]


@cache
def render_screens(name: str, seed: int, variety: int) -> Screens:
    """Return the screens of a layer, always the same for a seed."""
    return draw_screens(name, seed, variety, _composite_screen)


def _composite_screen(
    streaks: Particles, _exposure: Exposure, shape: tuple[int, int], _rng: np.random.Generator
) -> Floats:
    return composite_particles(streaks, shape, wrap=True)


CompositeScreen = Callable[[Particles, Exposure, tuple[int, int], np.random.Generator], Floats]
"""(streaks, how they are seen, (H, W), random numbers) -> (H, W) opacity in [0, 1] that tiles."""


def draw_screens(name: str, seed: int, variety: int, composite: CompositeScreen) -> Screens:
    """Return the screens of a layer whose streaks a function composites."""
    rng = np.random.default_rng([seed, *name.encode()])
    layer = PAPER_LAYERS[name]
    shears = rng.choice(SHEARS, variety).astype(np.float32)
    pixels = np.empty((variety, *SCREEN), np.uint8)
    for screen, shear in zip(pixels, shears, strict=True):
        count = layer.per_megapixel * SCREEN[0] * SCREEN[1] / 1e6 * rng.lognormal(0, 0.3)
        streaks = layer.exposure.draw(rng, int(count), SCREEN, float(shear))
        light = np.float32(rng.choice(LIGHTS, p=SHARES))
        screen[:] = np.rint(255 * light * composite(streaks, layer.exposure, SCREEN, rng))
    return Screens(pixels, shears)


@lru_cache(32)
def reduce_screens(screens: Screens, factor: int) -> Screens:
    """Return screens with each factor x factor block averaged into one pixel."""
    count, height, width = screens.pixels.shape
    height, width = height // factor, width // factor
    blocks = screens.pixels[:, : height * factor, : width * factor]
    mean = blocks.reshape(count, height, factor, width, factor).mean((2, 4), dtype=np.float32)
    return Screens(np.rint(mean).astype(np.uint8), screens.shears)
