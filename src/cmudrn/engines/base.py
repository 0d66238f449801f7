"""What every engine is: one exported network that restores one batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import ImageValueError
from cmudrn.models.info import ModelInfo
from cmudrn.models.layers import LayerList

Batch = NDArray[np.float32]
"""(B, 3, H, W) float32, RGB, degraded or restored, nominally in [0, 1]."""

TILE_PIXELS = 640 * 640
"""Largest window that goes through a network at once, where an engine does not name its own."""


@dataclass(frozen=True)
class EngineOutputs:
    """What an engine returns for a batch.

    Attributes:
        restored: (B, 3, H, W) float32, the fused estimate, not clipped.
        branches: task -> (B, 3, H, W) float32, each branch's own last estimate, not clipped;
            empty when branches were not asked for.
    """

    restored: Batch
    branches: Mapping[str, Batch]


class Engine(Protocol):
    """Restores one batch. Engines are stateless between calls and safe to call from one thread.

    An engine can be pickled and copied: the copy is opened anew from the bytes of its model.

    Attributes:
        tile_pixels: largest window that it is worth giving to a call; a bound on memory.
        precision: what it multiplies in, "fp32" or "bf16" (bfloat16; sums stay float32).
        threads: processor threads of a call.
        instruction_set: what it was compiled for, such as "avx2"; "" where a library chooses.
    """

    tile_pixels: int = TILE_PIXELS
    precision: str = "fp32"
    threads: int = 1
    instruction_set: str = ""

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        ...

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch.

        Args:
            batch: (B, 3, H, W) float32 RGB in [0, 1]; H and W are multiples of
                `info.alignment`, which is 1 for most models.
            branches: also return each branch's estimate.
            stages: T for this call; None is the model's own.
            recursions: S for this call; None is the model's own.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: the batch is of another shape.
        """
        ...


class RowStream(Protocol):
    """One image on its way through a network, a few rows at a time; a context manager."""

    def __enter__(self) -> RowStream:
        """Return the stream."""
        ...

    def __exit__(self, *error: Any) -> None:
        """Give the memory back."""
        ...

    def push(self, rows: Batch) -> EngineOutputs:
        """Return the rows that the next rows finish: (1, 3, k, W), k from 0 to all that is left.

        Args:
            rows: (3, n, W) float32 RGB in [0, 1], the rows below the last ones pushed.
        """
        ...


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that also takes an image in rows, so that memory does not grow with its height.

    Attributes:
        stream_columns: the widest image that it is worth giving to a stream; a bound on memory.
        stream_pixels: the smallest image, in pixels, that it is worth giving to a stream.
    """

    stream_columns: int
    stream_pixels: int

    def stream(
        self,
        height: int,
        width: int,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> RowStream:
        """Return a stream for an image of that size.

        Args:
            height: rows that will be pushed in all, a multiple of `info.alignment`.
            width: columns, likewise.
            branches: also return each branch's estimate.
            stages: T for this image; None is the model's own.
            recursions: S for this image; None is the model's own.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: no such size, or not enough memory for it.
        """
        ...


@runtime_checkable
class AdjustableEngine(Engine, Protocol):
    """An engine that gives memory and threads back between two calls.

    Attributes:
        threads: processor threads of a call.
    """

    threads: int

    def release_memory(self) -> None:
        """Free what is kept for the next call, which then takes up to a tenth longer."""
        ...

    def use_threads(self, threads: int) -> None:
        """Run the next calls on another number of threads, if they return the same numbers.

        Args:
            threads: at least one.
        """
        ...


def check_batch(batch: Batch, info: ModelInfo) -> None:
    """Refuse a batch that no engine can run.

    Raises:
        ImageValueError: it is not (B, 3, H, W), is empty, or its sides are no multiples of
            `info.alignment`.
    """
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.size:
        raise ImageValueError(f"A batch has the shape (B, 3, H, W), not {batch.shape}.")
    step = info.alignment
    if any(side % step for side in batch.shape[2:]):
        raise ImageValueError(
            f"The model {info.name} takes sides that are multiples of {step}, "
            f"not {batch.shape[3]}x{batch.shape[2]}."
        )


def name_outputs(names: Sequence[str], arrays: Sequence[Batch], info: ModelInfo) -> EngineOutputs:
    """Return a network's outputs by task.

    Args:
        names: of the outputs; "restored" is among them.
        arrays: in the same order.
        info: of the model. Where the network has no output for a task, its answer is the task's.
    """
    found = dict(zip(names, arrays, strict=True))
    restored = found["restored"]
    return EngineOutputs(restored, {task: found.get(task, restored) for task in info.tasks})


def needed_layers(
    info: ModelInfo, stages: int, recursions: int, *, branches: bool
) -> LayerList | None:
    """Return the layers that a call needs, or None where the network is not known as layers.

    Args:
        info: of the model.
        stages: T.
        recursions: S.
        branches: whether the images of the tasks are wanted besides the restored one.
    """
    layers = info.layers(stages, recursions)
    if layers is None:
        return None
    if info.network == "other":
        return layers.restricted([next(iter(layers.outputs))])
    tasks = [task for task in info.tasks if branches and task in layers.outputs]
    return layers.restricted(["restored", *tasks])


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processor cores this process may use: at least 1.

    Both the cores it is bound to and the time that its container is allowed count.

    Args:
        cgroup: where the container's limits lie; version 2 of them.
    """
    bound = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        allowed = math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, no limit ("max")
        return cores
    return max(1, min(cores, allowed))
