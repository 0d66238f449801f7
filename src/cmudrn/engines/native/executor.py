"""The compiled executor of lists of layers, from Python."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping

import numpy as np

from cmudrn.engines.base import Batch, EngineOutputs
from cmudrn.engines.native.library import NativeUnavailableError, load_library
from cmudrn.engines.native.lowering import lower
from cmudrn.engines.native.program_writer import TooLongError
from cmudrn.engines.native.rows import NativeRowStream
from cmudrn.errors import ImageValueError
from cmudrn.models.layers import LayerList

STEP_PIXELS = 600_000
"""Pixels that a stream moves on at a time: more take more memory, fewer make threads wait more."""
STEP_ROWS = 64
"""Steps are multiples of it, so that they end where the tiles of all scales end."""
_WRONG_SIZE = 1  # cmudrn_executor_new's reason


class LayerExecutor:
    """One network, ready to run on images of any size; one call runs at a time.

    The memory of the last size is kept for the next call: most calls have the size of the one
    before, and fresh memory costs as much as a tenth of the work.

    Attributes:
        outputs: names of the images that a call returns.
        alignment: what the sides of an image have to be multiples of.
    """

    def __init__(self, layers: LayerList, instruction_set: str, threads: int) -> None:
        """Compile a network.

        Args:
            layers: the network, with the outputs that are wanted.
            instruction_set: one of those that this processor has.
            threads: processor threads of a call.

        Raises:
            NativeUnavailableError: no compiled library here, or a network too large for it.
        """
        self._program: int | None = None
        self._executor: int | None = None
        self._size: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._idle: tuple[tuple[int, int], int] | None = None  # the last stream's size and memory
        self._library = load_library()
        self._threads = threads
        try:
            program = lower(layers)
        except TooLongError as error:
            raise NativeUnavailableError(
                f"The native engine does not run networks of {error}."
            ) from error
        self.outputs, self.alignment = program.outputs, layers.alignment
        self._program = self._library.cmudrn_program_new(
            instruction_set.encode(),
            program.code.ctypes.data,
            program.code.size,
            program.numbers.ctypes.data,
            program.numbers.size,
        )
        if self._program is None:
            raise NativeUnavailableError("The native engine does not take this network.")

    def __del__(self) -> None:
        """Free the compiled network."""
        self.release_memory()
        if self._program is not None:
            self._library.cmudrn_program_free(self._program)

    def release_memory(self) -> None:
        """Free what is kept for the next call."""
        with self._lock:
            for executor in (self._executor, self._idle and self._idle[1]):
                if executor is not None:
                    self._library.cmudrn_executor_free(executor)
            self._executor = self._size = self._idle = None

    def use_threads(self, threads: int) -> None:
        """Run the next calls on another number of threads."""
        if threads != self._threads:
            self.release_memory()
            self._threads = threads

    def __call__(self, batch: Batch) -> dict[str, Batch]:
        """Return output name -> (B, 3, H, W) float32, not clipped.

        Args:
            batch: (B, 3, H, W) float32 RGB in [0, 1]; H and W are multiples of `alignment`.

        Raises:
            ImageValueError: the network does not take images of this size, or there is not enough
                memory for them.
        """
        batch = np.ascontiguousarray(batch, np.float32)
        made = {name: np.empty_like(batch) for name in self.outputs}
        height, width = batch.shape[2:]
        with self._lock:
            executor = self._prepare(height, width)
            for index, image in enumerate(batch):
                planes = (ctypes.c_void_p * len(made))(
                    *(images[index].ctypes.data for images in made.values())
                )
                if self._library.cmudrn_executor_run(executor, image.ctypes.data, planes):
                    raise ImageValueError(_no_memory(height, width))
        return made

    def stream(self, height: int, width: int, tasks: Mapping[str, str]) -> LayerStream:
        """Return a stream that takes an image of that size a few rows at a time.

        Memory grows with its width. As many streams as wanted may run at once.

        Args:
            height: rows that will be pushed in all.
            width: columns.
            tasks: task -> which output is its estimate.

        Raises:
            ImageValueError: the network does not take images of this size, or there is not enough
                memory for them.
        """
        with self._lock:
            idle, self._idle = self._idle, None
        if idle and idle[0] == (height, width):
            return LayerStream(self, idle[1], height, width, tasks)
        if idle:
            self._library.cmudrn_executor_free(idle[1])
        step_rows = max(1, STEP_PIXELS // width // STEP_ROWS) * STEP_ROWS
        executor = self._new("cmudrn_row_executor_new", height, width, step_rows)
        return LayerStream(self, executor, height, width, tasks)

    def take_back(self, executor: int, height: int, width: int) -> None:
        """Keep a finished stream's memory for the next one of its size."""
        with self._lock:
            idle, self._idle = self._idle, ((height, width), executor)
        if idle:
            self._library.cmudrn_executor_free(idle[1])

    def push(self, executor: int, rows: Batch, made: Mapping[str, Batch], room: int) -> int:
        """Give a stream's next rows to the compiled code; return how many it finished, or -1."""
        count, width = rows.shape[1:]
        planes = (ctypes.c_void_p * len(made))(*(image.ctypes.data for image in made.values()))
        return int(
            self._library.cmudrn_executor_push(
                executor, rows.ctypes.data, count * width, count, planes, room * width
            )
        )

    def free(self, executor: int) -> None:
        """Give a stream's memory back."""
        self._library.cmudrn_executor_free(executor)

    def _prepare(self, height: int, width: int) -> int:
        if self._executor is not None and self._size == (height, width):
            return self._executor
        if self._executor is not None:
            self._library.cmudrn_executor_free(self._executor)
            self._executor = None
        self._executor = self._new("cmudrn_executor_new", height, width)
        self._size = (height, width)
        return self._executor

    def _new(self, function: str, height: int, width: int, *step_rows: int) -> int:
        reason = ctypes.c_int()
        executor = getattr(self._library, function)(
            self._program, height, width, self._threads, *step_rows, ctypes.byref(reason)
        )
        if executor is None and reason.value == _WRONG_SIZE:
            raise ImageValueError(f"The network cannot take an image of {width}x{height}.")
        if executor is None:
            raise ImageValueError(_no_memory(height, width))
        return int(executor)


class LayerStream(NativeRowStream):
    """One image on its way through a `LayerExecutor`, whose `stream` makes it."""

    def __init__(
        self,
        network: LayerExecutor,
        executor: int,
        height: int,
        width: int,
        tasks: Mapping[str, str],
    ) -> None:
        """Take over the memory of a stream; see `LayerExecutor.stream`."""
        super().__init__(height, width)
        self._network, self._executor, self._tasks = network, executor, tasks

    def close(self) -> None:
        """Give the memory back; the stream is then of no more use."""
        executor, self._executor = self._executor, 0
        if executor and self._finished:
            self._network.take_back(executor, self._height, self._width)
        elif executor:
            self._network.free(executor)

    def _run(self, rows: Batch, room: int) -> tuple[int, EngineOutputs]:
        names = self._network.outputs
        made = {name: np.empty((1, 3, room, self._width), np.float32) for name in names}
        done = self._network.push(self._executor, rows, made, room)
        branches = {task: made[name] for task, name in self._tasks.items()}
        return done, EngineOutputs(made[names[0]], branches)


def _no_memory(height: int, width: int) -> str:
    return f"There is not enough memory for an image of {width}x{height}."
