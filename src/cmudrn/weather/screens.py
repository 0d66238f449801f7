"""Whole screens of rain on black, of the kinds and sizes that were published."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.weather.exposure import Exposure
from cmudrn.weather.particles import lay_particles

SHAPE = (320, 600)


@dataclass(frozen=True)
class ScreenKind:
    """One kind of published screen.

    Attributes:
        numbers: first and last of the published screens `<n>-<k>.png` that are of this kind.
        drops: on a screen.
        exposure: how they are seen.
        drops_spread: standard deviation of the logarithm of their number.
    """

    numbers: tuple[int, int]
    drops: int
    exposure: Exposure
    drops_spread: float = 0.15


SCREEN_KINDS = {
    "dense": ScreenKind((1, 10), 900, Exposure(1 / 100, 1.5, 0.5, blur_px=1)),
    "steady": ScreenKind((11, 20), 900, Exposure(1 / 100, 1.3, 0.3, blur_px=1)),
    "faint": ScreenKind((21, 45), 500, Exposure(1 / 120, 1.2, 0.25, blur_px=1)),
    "short": ScreenKind((46, 60), 450, Exposure(1 / 400, 1.3, 0.6, blur_px=1)),
    "strong": ScreenKind((61, 90), 400, Exposure(1 / 250, 1.4, 0.9, blur_px=1)),
    "medium": ScreenKind((91, 165), 900, Exposure(1 / 120, 1.3, 0.35, blur_px=1)),
}


def render_screen(
    kind: ScreenKind, rng: np.random.Generator, shear: float = 0.0
) -> NDArray[np.uint8]:
    """Return a (320, 600) uint8 screen.

    Args:
        kind: what rain it shows.
        rng: source of all randomness.
        shear: tangent of the rain's lean; the published ones have 0, +-0.1 and +-0.2.
    """
    count = int(kind.drops * rng.lognormal(0, kind.drops_spread))
    streaks = kind.exposure.draw(rng, count, SHAPE, shear)
    return np.rint(255 * lay_particles(streaks, SHAPE, wrap=True)).astype(np.uint8)
