"""The native engine and its streams of rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from cmudrn.engines.base import Batch, EngineOutputs, available_cores
from cmudrn.engines.native.library import CannotRunNatively, choose_instruction_set, load_library
from cmudrn.engines.native.weights import native_weights
from cmudrn.errors import CmudrnError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.model_file import ModelFile, make_info, open_model_file, parse_model

LARGEST_SIDE = 1 << 20
"""Pixels; keeps every index of the compiled code far from overflow."""

TILE_PIXELS = 2_100_000
"""A frame of 1920x1088 goes through whole. Rows flow through the stages, so that large windows take
little memory; small ones would compute what lies around their cores twice."""


class NativeEngine:
    """Runs the project's own models with the compiled library.

    Attributes:
        instruction_set: the one it uses: "avx512", "avx2", "portable" or "avx512bf16".
        precision: what it multiplies in: "fp32" or "bf16" (bfloat16; sums stay float32).
        threads: processor threads of a call.
        tile_pixels: the largest window that it is worth giving to a call.
    """

    tile_pixels = TILE_PIXELS

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None:
        """Open a model file.

        Args:
            model: the model file, or its path.
            threads: processor threads of a call; None is one for every core this process may use.
            precision: "fp32" or "bf16".

        Raises:
            CannotRunNatively: no compiled library here, no bfloat16 in this processor, or a
                model that it does not run.
            CmudrnError: the file cannot be read or is damaged.
        """
        self._network: int | None = None
        self._library = load_library()
        self.instruction_set = choose_instruction_set(precision)
        self.precision = precision
        self.threads = threads or available_cores()
        self._asked_threads = threads
        self._model = open_model_file(model)
        path = self._model.path
        if not self._model.own:
            raise CannotRunNatively(f"The model {path} is not one of this project.")
        self._info = make_info(self._model)
        weights = native_weights(self._model, self._info.metadata)
        self._network = self._library.cmudrn_network_new(
            self.instruction_set.encode(),
            weights.branches,
            weights.fused,
            weights.fusion_skip,
            weights.relu_output,
            weights.numbers.ctypes.data,
            weights.numbers.size,
        )
        if self._network is None:
            raise CmudrnError(f"The native engine could not take the model {path}.")
        self.branches = weights.branches

    def __del__(self) -> None:
        if self._network is not None:
            self._library.cmudrn_network_free(self._network)

    def __reduce__(self) -> tuple[Callable[..., NativeEngine], tuple[Any, ...]]:
        about = (self._model.data, self._model.path, self._asked_threads, self.precision)
        return _reopen, about

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        return self._info

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch; see `Engine`.

        Raises:
            CmudrnError: the model does not take this depth or this batch.
        """
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.size:
            raise CmudrnError(f"A batch has the shape (B, 3, H, W), not {batch.shape}.")
        done = []
        for picture in batch:
            with self.stream(
                *picture.shape[1:], branches=branches, stages=stages, recursions=recursions
            ) as stream:
                done.append(stream.push(picture))
        tasks = done[0].branches
        return EngineOutputs(
            np.concatenate([one.restored for one in done]),
            {task: np.concatenate([one.branches[task] for one in done]) for task in tasks},
        )

    def stream(
        self,
        height: int,
        width: int,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> NativeStream:
        """Return a stream that takes a picture of that size a few rows at a time.

        Its memory grows with the width, not with the height.

        Args:
            height: rows that will be pushed in all.
            width: columns.
            branches: also return each branch's estimate.
            stages: T for this picture; None is the model's own.
            recursions: S for this picture; None is the model's own.

        Raises:
            CmudrnError: the model does not take this depth, or there is not enough memory.
        """
        depth = check_depth(self._info, stages, recursions)
        if not 1 <= min(height, width) or max(height, width) > LARGEST_SIDE:
            raise CmudrnError(f"The native engine cannot take a picture of {width}x{height}.")
        stream = self._library.cmudrn_stream_new(self._network, height, width, *depth, self.threads)
        if stream is None:
            raise CmudrnError(f"There is not enough memory for a picture of {width}x{height}.")
        return NativeStream(self, stream, height, width, branches)


def _reopen(data: bytes, path: str, threads: int | None, precision: str) -> NativeEngine:
    return NativeEngine(parse_model(data, path), threads, precision)


class NativeStream:
    """One picture on its way through a `NativeEngine`; a context manager.

    A few rows after they went in, rows come out: exactly those that the whole picture at once
    would give. Made by `NativeEngine.stream`.
    """

    def __init__(
        self, engine: NativeEngine, handle: int, height: int, width: int, branches: bool
    ) -> None:
        self._engine, self._handle = engine, handle
        self._height, self._width, self._branches = height, width, branches
        self._pushed = self._returned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; the stream is then of no more use."""
        if self._handle:
            self._engine._library.cmudrn_stream_free(self._handle)
            self._handle = 0

    def push(self, rows: Batch) -> EngineOutputs:
        """Return the rows that the next rows finish: (1, 3, k, W), k from 0 to all that is left.

        Args:
            rows: (3, n, W) float32 RGB in [0, 1], the rows below the last ones pushed.

        Raises:
            CmudrnError: rows of another width, or more than the picture has.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.shape[0] != 3 or rows.shape[2] != self._width:
            raise CmudrnError(f"Rows have the shape (3, n, {self._width}), not {rows.shape}.")
        self._pushed += rows.shape[1]
        if self._pushed > self._height:
            raise CmudrnError(f"The picture has {self._height} rows, not {self._pushed}.")
        room = self._pushed - self._returned  # no row comes out before it went in
        restored = np.empty((1, 3, room, self._width), np.float32)
        count = self._engine.branches if self._branches else 0
        estimates = np.empty((count, 3, room, self._width), np.float32)
        done = self._engine._library.cmudrn_stream_push(
            self._handle,
            rows.ctypes.data,
            rows.shape[1] * self._width,
            rows.shape[1],
            restored.ctypes.data,
            estimates.ctypes.data if count else None,
            room * self._width,
        )
        if done < 0:
            raise CmudrnError("There is not enough memory for this picture.")
        self._returned += done
        return EngineOutputs(restored[:, :, :done], self._estimates(estimates[:, :, :done]))

    def _estimates(self, estimates: Batch) -> dict[str, Batch]:
        """Return the branches by task; a lone branch answers for all of its tasks."""
        tasks = self._engine.info.tasks if self._branches else ()
        alone = len(estimates) == 1
        return {task: estimates[0 if alone else b][None] for b, task in enumerate(tasks)}
