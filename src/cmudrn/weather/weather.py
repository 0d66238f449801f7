"""What every weather takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image

Range = tuple[float, float]
"""Least and greatest value of a setting that is drawn for each picture."""

NORMAL, GREATEST = 3.0, 5.0
"""Severities: presets are made for the first; the second is the end of the scale."""


@dataclass(frozen=True)
class Degraded:
    """A picture in bad weather.

    Attributes:
        degraded: (H, W, 3) float32 RGB in [0, 1].
        layers: what was laid over the clean picture, float32. Rain: "streaks" (H, W), their
            light; snow: "mask" (H, W), opacity of the snow in [0, 1]; with a veil also
            "transmission" (H, W) in [0, 1] and "airlight" (3,) RGB in [0, 1].
        parameters: the values drawn for this picture, ready for JSON.
    """

    degraded: Image
    layers: dict[str, NDArray[np.float32]]
    parameters: dict[str, Any]


class Scene(Protocol):
    """Weather drawn for one picture or one sequence of frames; draws nothing more."""

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return a clean frame, of the shape the scene was drawn for, in the weather."""
        ...

    def reduced(self, factor: int) -> Scene:
        """Return the scene for pictures with 1 / factor of the rows and columns, rounded down."""
        ...


@dataclass(frozen=True, kw_only=True)
class Weather(ABC):
    """A kind of weather; its fields are its settings.

    Attributes:
        severity: 0 leaves pictures clean, 3 is the preset as it was made, 5 the worst. With the
            same random numbers, more severe weather is the same weather and more of it.
    """

    kind: ClassVar[str]
    """What falls, such as "rain": names the folder of rendered images; every subclass sets it."""

    severity: float = NORMAL

    @abstractmethod
    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> Scene:
        """Return this weather drawn for pictures of (H, W) pixels."""

    def __call__(self, clean: Image, rng: np.random.Generator) -> Degraded:
        """Return clean, (H, W, 3) float32 RGB in [0, 1], in this weather."""
        return self.scene((clean.shape[0], clean.shape[1]), rng)(clean)


def draw(rng: np.random.Generator, limits: Range) -> float:
    """Return a number between limits, each equally likely."""
    return float(rng.uniform(*limits))


def draw_log(rng: np.random.Generator, limits: Range) -> float:
    """Return a number between limits, each order of magnitude equally likely."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def draw_light(rng: np.random.Generator, limits: Range, tint: float) -> NDArray[np.float32]:
    """Return RGB of a grey level between limits, each channel off by at most tint."""
    light = draw(rng, limits) + rng.uniform(-tint, tint, 3)
    return np.clip(light, 0, 1).astype(np.float32)


def draw_count(rng: np.random.Generator, expected: float, severity: float) -> tuple[int, int]:
    """Return (particles to draw, how many of them to keep) for an expected number.

    As many are drawn as the greatest severity keeps, so that severities differ in nothing else.
    """
    count = int(rng.poisson(expected * GREATEST / NORMAL))
    return count, int(np.ceil(count * severity / GREATEST))
