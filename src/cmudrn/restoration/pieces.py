"""The pieces in which an image goes through a network: whole windows, or a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cmudrn.engines.base import Batch, Engine, EngineOutputs, StreamingEngine
from cmudrn.errors import ModelFileError
from cmudrn.image import Image, Pixels, put_float, to_batch, to_float, to_rgb
from cmudrn.restoration.dehazing import VeilCorrection
from cmudrn.restoration.tiling import Area, Tile

STREAM_PIXELS = 1 << 19
"""Pixels that are given to a stream at a time. Fewer take longer, more take memory."""
MIN_STREAM_ROWS = 16


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
        source: (h, w, 3) or (h, w), the image there, in its own type.
        fused: (h, w, 3), the restored image, not clipped.
        branches: task -> (h, w, 3), each branch's estimate, not clipped; empty unless wanted.
    """

    core: Area
    source: Pixels = field(repr=False)
    fused: Image
    branches: Mapping[str, Image]

    @cached_property
    def degraded(self) -> Image:
        """The image there as the network's input, (h, w, 3) in [0, 1]; made when first asked."""
        return to_rgb(to_float(clipped(self.source)))


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
        batch = self._see(*tile.window, tile.padding)
        outputs = run_network(
            engine, batch, branches=self.branches, stages=self.stages, recursions=self.recursions
        )
        return _piece(tile.core, self.image[tile.core], outputs, tile.inner)

    def in_rows(self, engine: StreamingEngine, tile: Tile) -> Iterator[Piece | None]:
        """Yield a tile of the image's whole height as its rows are finished.

        Each step takes `stream_rows` of them; None stands for steps that finish none.

        Raises:
            ModelFileError: the network returned values that are no numbers.
        """
        columns, (below, right) = tile.window[1], tile.padding
        height, inner = tile.window[0].stop, tile.inner[1]
        size = (height + below, columns.stop - columns.start + right)
        with engine.stream(
            *size, branches=self.branches, stages=self.stages, recursions=self.recursions
        ) as stream:
            made, step = 0, stream_rows(tile)
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                seen = self._see(rows, columns, (below * (rows.stop == height), right))
                outputs = _checked(engine, stream.push(seen[0]))
                first, made = made, made + outputs.restored.shape[2]
                core = (slice(first, min(made, height)), tile.core[1])
                if core[0].start >= core[0].stop:
                    yield None
                    continue
                kept = (slice(0, core[0].stop - first), inner)
                yield _piece(core, self.image[core], outputs, kept)

    def _see(self, rows: slice, columns: slice, padding: tuple[int, int]) -> Batch:
        """Return what the network sees of rows and columns of the image.

        The last of them are repeated below and on the right.
        """
        window = self.image[rows, columns]
        (height, width), (below, right) = window.shape[:2], padding
        batch = np.empty((1, 3, height + below, width + right), np.float32)
        if self.correction is None:
            for channel, plane in enumerate(batch[0, :, :height, :width]):
                put_float(clipped(window if window.ndim == 2 else window[..., channel]), plane)
        else:
            size = (self.image.shape[0], self.image.shape[1])
            seen = self.correction(to_rgb(to_float(clipped(window))), (rows, columns), size)
            batch[..., :height, :width] = to_batch(seen)
        batch[..., :height, width:] = batch[..., :height, width - 1 : width]
        batch[..., height:, :] = batch[..., height - 1 : height, :]
        return batch


def steps(tile: Tile) -> int:
    """Return how many steps `Passage.in_rows` makes of a tile."""
    return -(-int(tile.window[0].stop) // stream_rows(tile))


def stream_rows(tile: Tile) -> int:
    """Return how many rows of a tile go through the network at once."""
    columns = int(tile.window[1].stop - tile.window[1].start)
    return max(MIN_STREAM_ROWS, STREAM_PIXELS // columns // MIN_STREAM_ROWS * MIN_STREAM_ROWS)


def clipped(array: Pixels) -> Pixels:
    """Return what the network sees of an array: floats end at black and white.

    What they have beyond goes around the network.
    """
    return np.clip(array, 0, 1) if array.dtype == np.float32 else array


def _checked(engine: Engine, outputs: EngineOutputs) -> EngineOutputs:
    if not np.isfinite(outputs.restored).all():
        raise ModelFileError(f"The model {engine.info.name} returned values that are no numbers.")
    return outputs


def _piece(core: Area, source: Pixels, outputs: EngineOutputs, inner: Area) -> Piece:
    branches = {task: _cut(batch, inner) for task, batch in outputs.branches.items()}
    return Piece(core, source, _cut(outputs.restored, inner), branches)


def _cut(batch: Batch, inner: Area) -> Image:
    rows, columns = inner
    return batch[0, :, rows, columns].transpose(1, 2, 0)
