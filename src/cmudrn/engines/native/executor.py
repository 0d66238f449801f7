"""The compiled executor of lists of layers, from Python."""

from __future__ import annotations

import ctypes
import threading

import numpy as np

from cmudrn.engines.base import Batch
from cmudrn.engines.native.library import NativeUnavailableError, load_library
from cmudrn.engines.native.lowering import lower
from cmudrn.engines.native.program_writer import TooLongError
from cmudrn.errors import ImageValueError
from cmudrn.models.layers import LayerList

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
        if self._executor is not None:
            self._library.cmudrn_executor_free(self._executor)
        if self._program is not None:
            self._library.cmudrn_program_free(self._program)

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

    def _prepare(self, height: int, width: int) -> int:
        if self._executor is not None and self._size == (height, width):
            return self._executor
        if self._executor is not None:
            self._library.cmudrn_executor_free(self._executor)
            self._executor = None
        reason = ctypes.c_int()
        executor = self._library.cmudrn_executor_new(
            self._program, height, width, self._threads, ctypes.byref(reason)
        )
        if executor is None and reason.value == _WRONG_SIZE:
            raise ImageValueError(f"The network cannot take an image of {width}x{height}.")
        if executor is None:
            raise ImageValueError(_no_memory(height, width))
        self._executor, self._size = executor, (height, width)
        return int(executor)


def _no_memory(height: int, width: int) -> str:
    return f"There is not enough memory for an image of {width}x{height}."
