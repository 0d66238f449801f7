"""The pieces in which an image goes through a network: whole windows, or a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cmudrn.engines.base import Batch, Engine, EngineOutputs, StreamingEngine
from cmudrn.errors import ModelFileError
from cmudrn.image import Image, Pixels, to_batch, to_float, to_rgb
from cmudrn.restoration.dehazing import VeilCorrection
from cmudrn.restoration.tiling import Area, Tile

STREAM_ROWS = 128
"""Rows that are given to a stream at a time."""


def run_network(
    engine: Engine,
    batch: Batch,
    *,
    branches: bool = False,
    stages: int | None = None,
    recursions: int | None = None,
) -> EngineOutputs:
    """Run the network alone: no tiles, no dehazing, no change gating.

    Args:
        engine: runs it.
        batch: (B, 3, H, W) float32 RGB in [0, 1]; see `Engine`.
        branches: also return each branch's estimate.
        stages: T; None is the model's own.
        recursions: S; None is the model's own.

    Raises:
        ImageValueError: the batch is of another shape.
        InvalidSettingError: the model does not take this depth.
        ModelFileError: the model returned values that are no numbers.
    """
    outputs = engine(batch, branches=branches, stages=stages, recursions=recursions)
    return _checked(engine, outputs)


@dataclass(frozen=True)
class Piece:
    """A part of an image after the network.

    Attributes:
        core: its rows and columns in the image.
        degraded: (h, w, 3) in [0, 1], the image there.
        fused: (h, w, 3), the restored image, not clipped.
        branches: task -> (h, w, 3), each branch's estimate, not clipped; empty unless wanted.
    """

    core: Area
    degraded: Image
    fused: Image
    branches: Mapping[str, Image]


@dataclass(frozen=True)
class Passage:
    """How an image goes through a network.

    Attributes:
        image: (H, W, 3) or (H, W) of any pixel type.
        correction: what takes the veil off it first.
        branches: each branch's estimate is wanted, too.
        stages: T; None is the model's own.
        recursions: S; None is the model's own.
    """

    image: Pixels
    correction: VeilCorrection | None
    branches: bool
    stages: int | None
    recursions: int | None

    def whole(self, engine: Engine, tile: Tile) -> Piece:
        """Return a tile after one call of the engine.

        Raises:
            ModelFileError: the network returned values that are no numbers.
        """
        window, seen = self._see(*tile.window)
        batch = _padded(seen, tile.padding)
        outputs = run_network(
            engine, batch, branches=self.branches, stages=self.stages, recursions=self.recursions
        )
        return _piece(tile.core, window[tile.inner], outputs, tile.inner)

    def in_rows(self, engine: StreamingEngine, tile: Tile) -> Iterator[Piece | None]:
        """Yield a tile of the image's whole height as its rows are finished.

        Each step takes `STREAM_ROWS` rows; None stands for steps that finish none.

        Raises:
            ModelFileError: the network returned values that are no numbers.
        """
        columns, (below, right) = tile.window[1], tile.padding
        height, inner = tile.window[0].stop, tile.inner[1]
        size = (height + below, columns.stop - columns.start + right)
        with engine.stream(
            *size, branches=self.branches, stages=self.stages, recursions=self.recursions
        ) as stream:
            made = 0
            for start in range(0, height, STREAM_ROWS):
                rows = slice(start, min(start + STREAM_ROWS, height))
                _, seen = self._see(rows, columns)
                padded = _padded(seen, (below * (rows.stop == height), right))
                outputs = _checked(engine, stream.push(padded[0]))
                first, made = made, made + outputs.restored.shape[2]
                core = (slice(first, min(made, height)), tile.core[1])
                if core[0].start >= core[0].stop:
                    yield None
                    continue
                degraded = self._window(core[0], columns)[:, inner]
                kept = (slice(0, core[0].stop - first), inner)
                yield _piece(core, degraded, outputs, kept)

    def _window(self, *area: slice) -> Image:
        return to_rgb(to_float(clipped(self.image[area])))

    def _see(self, *area: slice) -> tuple[Image, Batch]:
        """Return rows and columns of the image, and what the network sees of them."""
        rows, columns = area
        window = self._window(rows, columns)
        if self.correction is None:
            return window, to_batch(window)
        height, width = self.image.shape[:2]
        return window, to_batch(self.correction(window, (rows, columns), (height, width)))


def steps(tile: Tile) -> int:
    """Return how many steps `Passage.in_rows` makes of a tile."""
    return -(-int(tile.window[0].stop) // STREAM_ROWS)


def clipped(array: Pixels) -> Pixels:
    """Return what the network sees of an array: floats end at black and white.

    What they have beyond goes around the network.
    """
    return np.clip(array, 0, 1) if array.dtype == np.float32 else array


def _checked(engine: Engine, outputs: EngineOutputs) -> EngineOutputs:
    if not np.isfinite(outputs.restored).all():
        raise ModelFileError(f"The model {engine.info.name} returned values that are no numbers.")
    return outputs


def _piece(core: Area, degraded: Image, outputs: EngineOutputs, inner: Area) -> Piece:
    branches = {task: _cut(batch, inner) for task, batch in outputs.branches.items()}
    return Piece(core, degraded, _cut(outputs.restored, inner), branches)


def _padded(batch: Batch, padding: tuple[int, int]) -> Batch:
    """Return a window with the image's last rows and columns repeated below and on the right."""
    if not any(padding):
        return batch
    return np.pad(batch, ((0, 0), (0, 0), (0, padding[0]), (0, padding[1])), mode="edge")


def _cut(batch: Batch, inner: Area) -> Image:
    rows, columns = inner
    return batch[0, :, rows, columns].transpose(1, 2, 0)
