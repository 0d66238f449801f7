"""An image that goes through the compiled engine a few rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np

from cmudrn.engines.base import Batch, EngineOutputs
from cmudrn.errors import ImageValueError


class NativeRowStream(ABC):
    """One image on its way through a network; a context manager.

    Some rows after they went in, rows come out: exactly those that the whole image at once
    would give.
    """

    def __init__(self, height: int, width: int) -> None:
        """Begin an image of that size."""
        self._height, self._width = height, width
        self._pushed = self._returned = 0

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the memory back."""
        self.close()

    def __del__(self) -> None:
        """Give the memory back."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give the memory back; the stream is then of no more use."""

    def push(self, rows: Batch) -> EngineOutputs:
        """Return the rows that the next rows finish: (1, 3, k, W), k from 0 to all that is left.

        Args:
            rows: (3, n, W) float32 RGB in [0, 1], the rows below the last ones pushed.

        Raises:
            ImageValueError: rows of another width, or more than the image has.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.ndim != 3 or rows.shape[0] != 3 or rows.shape[2] != self._width:
            raise ImageValueError(f"Rows have the shape (3, n, {self._width}), not {rows.shape}.")
        if self._pushed + rows.shape[1] > self._height:
            pushed = self._pushed + rows.shape[1]
            raise ImageValueError(f"The image has {self._height} rows, not {pushed}.")
        self._pushed += rows.shape[1]
        done, outputs = self._run(rows, self._pushed - self._returned)
        if done < 0:
            raise ImageValueError("There is not enough memory for this image.")
        self._returned += done
        return EngineOutputs(
            outputs.restored[:, :, :done],
            {task: estimate[:, :, :done] for task, estimate in outputs.branches.items()},
        )

    @property
    def _finished(self) -> bool:
        return self._returned == self._height

    @abstractmethod
    def _run(self, rows: Batch, room: int) -> tuple[int, EngineOutputs]:
        """Return how many rows were finished, and images of `room` rows that begin with them.

        Args:
            rows: (3, n, W).
            room: rows that may come out: no row does before it went in.
        """
