"""What every weather takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image

Range = tuple[float, float]
"""Least and greatest value of a setting that is drawn for each picture."""


@dataclass(frozen=True)
class Degraded:
    """A picture in bad weather.

    Attributes:
        degraded: (H, W, 3) float32 RGB in [0, 1].
        layers: what was laid over the clean picture. Rain: "streaks" (H, W), light added before
            the tint; snow: "mask" (H, W), opacity of the snow; with a veil also "transmission"
            (H, W) and "airlight" (3,).
        parameters: the values drawn for this picture, ready for JSON.
    """

    degraded: Image
    layers: dict[str, NDArray[np.float32]]
    parameters: dict[str, Any]


class Weather(Protocol):
    """A kind of weather; its fields are its settings."""

    def __call__(self, clean: Image, rng: np.random.Generator) -> Degraded:
        """Return the scene of clean, (H, W, 3) float32 RGB in [0, 1], in this weather."""
        ...


def draw(rng: np.random.Generator, limits: Range) -> float:
    """Return a number between limits, each equally likely."""
    return float(rng.uniform(*limits))


def draw_log(rng: np.random.Generator, limits: Range) -> float:
    """Return a number between limits, each order of magnitude equally likely."""
    return float(np.exp(rng.uniform(*np.log(limits))))
