"""What each branch took out of an image, collected piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image
from cmudrn.restoration.pieces import Piece
from cmudrn.restoration.settings import RestoreSettings
from cmudrn.restoration.tiling import Area

OnResiduals = Callable[[Area, Mapping[str, Image]], None]
"""Called with rows and columns, and the residuals there: task, and "fused" -> (h, w, 3) float32."""


class Layers:
    """The layers of one image.

    Args:
        shape: (H, W) of the image.
        tasks: of the model.
        settings: what is wanted.
        on_residuals: told of each piece's residuals; where it is given, none are kept.

    Attributes:
        branches: see `RestoredImage`.
        residuals: see `RestoredImage`.
        means: task, and "fused" -> (H, W) float16, the residuals' means over the channels; empty
            unless a weather score is wanted.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        tasks: Sequence[str],
        settings: RestoreSettings,
        on_residuals: OnResiduals | None = None,
    ) -> None:
        keeps = settings.layers and on_residuals is None
        self._on_residuals = on_residuals
        self.are_wanted: bool = settings.layers or settings.scored or on_residuals is not None
        named = (*tasks, "fused")
        self.branches: dict[str, Image] = _empty((*shape, 3), tasks if keeps else ())
        self.residuals: dict[str, Image] = _empty((*shape, 3), named if keeps else ())
        self.means: dict[str, NDArray[np.float16]] = {
            name: np.empty(shape, np.float16) for name in (named if settings.scored else ())
        }

    def add(self, piece: Piece) -> None:
        """Take what is wanted of a piece; each piece once."""
        if not self.are_wanted:
            return
        estimates = {**piece.branches, "fused": piece.fused}
        residuals = {name: piece.degraded - one for name, one in estimates.items()}
        if self._on_residuals:
            self._on_residuals(piece.core, residuals)
        for name, residual in residuals.items():
            if name in self.residuals:
                self.residuals[name][piece.core] = residual
            if name in self.means:
                self.means[name][piece.core] = residual.mean(axis=2, dtype=np.float32)
            if name in self.branches:
                self.branches[name][piece.core] = estimates[name]


def _empty(shape: tuple[int, ...], names: Sequence[str]) -> dict[str, Image]:
    return {name: np.empty(shape, np.float32) for name in names}
