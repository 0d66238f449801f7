"""The paper's rain exactly: its generator's recipe over published screens (needs scipy)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError
from cmudrn.image import Pixels, read_picture
from cmudrn.weather.layered_rain import LayeredScene, Screens, Windows
from cmudrn.weather.scipy_filters import ndimage
from cmudrn.weather.weather import NORMAL, Range, Weather

SCREEN_NAME = re.compile(r"\d+-\d+\.png")
UPSCALE = 4
"""Screens are filtered at this many times their size."""
TOP_ROWS = 3
"""Rows of a screen that the generator drops."""
KEPT = 64
"""Filtered screens kept in memory, up to 3 MB each."""


@dataclass(frozen=True)
class Filter:
    """What the generator makes of a screen for one of its layers.

    Attributes:
        screens: drawn for each picture.
        crops: windows cut from each.
        weight: of each window.
        area_px: least and greatest streak kept, in pixels of the upscaled screen.
        blur_px: standard deviation of the blur, in the same pixels.
        scale: of the filtered screen relative to the upscaled one; 0 squeezes the whole screen
            to the size of the picture.
        fall_px: movement from frame to frame.
    """

    screens: int
    crops: int
    weight: Range
    area_px: tuple[int, int]
    blur_px: float
    scale: float
    fall_px: float


PAPER_FILTERS = (
    Filter(8, 1, (0.25, 0.45), (0, 1000), 1, 0.0, 20),
    Filter(8, 6, (0.20, 0.35), (800, 4000), 2, 0.5, 90),
    Filter(3, 6, (0.10, 0.20), (2000, 6000), 1, 1.0, 250),
)
"""Dense, middle and sparse streaks."""


@dataclass(frozen=True, kw_only=True)
class PublishedRain(Weather):
    """The three layers made from a folder of screens `<n>-<k>.png`.

    Attributes:
        paths: the screens.
    """

    kind = "rain"

    paths: tuple[Path, ...]

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> LayeredScene:
        """Return rain drawn for pictures of (H, W) pixels."""
        layers: list[Windows] = []
        names: list[list[str]] = []
        for step in PAPER_FILTERS:
            chosen = [self.paths[i] for i in rng.integers(len(self.paths), size=step.screens)]
            layers += [_draw_windows(path, step, shape, rng) for path in chosen]
            names.append([path.name for path in chosen])
        return LayeredScene(tuple(layers), self.severity / NORMAL, {"screens": names})


def _draw_windows(
    path: Path, step: Filter, shape: tuple[int, int], rng: np.random.Generator
) -> Windows:
    """Return the windows that a layer cuts from one screen; they wrap in larger pictures."""
    pixels = read_layer(path, step, None if step.scale else shape)
    free = [side - wanted for side, wanted in zip(pixels.shape, shape, strict=True)]
    limits = [f + 1 if f >= 0 else side for f, side in zip(free, pixels.shape, strict=True)]
    return Windows(
        Screens(pixels[None], np.zeros(1, np.float32)),
        which=np.zeros(step.crops, np.int64),
        tops=rng.integers(0, limits[0], step.crops),
        lefts=rng.integers(0, limits[1], step.crops),
        weights=rng.uniform(*step.weight, step.crops).astype(np.float32),
        fall_px=step.fall_px,
    )


def list_screens(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that are named like published screens, sorted."""
    return tuple(sorted(p for p in folder.iterdir() if SCREEN_NAME.fullmatch(p.name)))


@lru_cache(KEPT)
def read_layer(path: Path, step: Filter, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return what a layer keeps of a screen, resized for it.

    Raises:
        CmudrnError: the file is not an 8-bit picture higher than the rows dropped.
    """
    pixels = read_picture(path).pixels
    if pixels.dtype != np.uint8 or pixels.shape[0] <= TOP_ROWS:
        raise CmudrnError(f"{path} is not a rain screen: an 8-bit picture is needed.")
    filtered = filter_screen(_grey(pixels)[TOP_ROWS:], step.area_px, step.blur_px)
    target = size or tuple(round(step.scale * side) for side in filtered.shape)
    zoom = [wanted / side for wanted, side in zip(target, filtered.shape, strict=True)]
    if zoom != [1, 1]:
        filtered = ndimage().zoom(filtered, zoom, order=1, mode="nearest", grid_mode=True)
    return np.rint(filtered).astype(np.uint8)


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = pixels if pixels.ndim == 2 else pixels[..., 0]
    return grey


def filter_screen(
    screen: NDArray[np.uint8], area_px: tuple[int, int], blur_px: float
) -> NDArray[np.float32]:
    """Return a screen four times as large with only the streaks of some size, blurred.

    Args:
        screen: (h, w) brightness.
        area_px: least and greatest area kept, in pixels of the result.
        blur_px: standard deviation of the blur, in the same pixels.
    """
    large = ndimage().zoom(
        screen.astype(np.float32), UPSCALE, order=3, mode="nearest", grid_mode=True
    )
    large = np.clip(large, 0, 255)
    streaks, _ = ndimage().label(large > otsu_level(large), structure=np.ones((3, 3)))
    areas = np.bincount(streaks.ravel())
    kept = (areas >= area_px[0]) & (areas <= area_px[1])
    kept[0] = False
    blurred: NDArray[np.float32] = ndimage().gaussian_filter(large * kept[streaks], blur_px)
    return blurred


def otsu_level(pixels: NDArray[np.float32]) -> int:
    """Return the level in 0..255 that best parts dark pixels from bright.

    References:
        Otsu, "A threshold selection method from gray-level histograms", 1979.
    """
    counts = np.bincount(pixels.astype(np.uint8).ravel(), minlength=256).astype(float)
    levels = np.arange(256)
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * levels) / np.maximum(below, 1)
    mean_above = np.cumsum((counts * levels)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return int(np.argmax(between))
