"""What every dataset gives: named pairs of a degraded and a clean picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cmudrn.image import Image


@dataclass(frozen=True)
class Pair:
    """One picture with and without weather.

    Attributes:
        name: of the pair within its dataset.
        degraded: (H, W, 3) float32 RGB in [0, 1].
        clean: the same scene without weather, of the same shape.
    """

    name: str
    degraded: Image
    clean: Image


class Dataset(Protocol):
    """Pairs by number, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...
