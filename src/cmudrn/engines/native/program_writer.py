"""The numbers that the compiled executor reads a program from (cpp/program.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.expressions import View
from cmudrn.models.layers import Floats

VERSION = 1
MAX_TERMS = 4
"""Views that one operation sums."""
MAX_OPERATIONS = 8192
"""Operations, and maps, of a program; longer networks are left to another engine."""
INPUT, OUTPUT, CONVOLUTION, COMBINATION, PRODUCT = range(5)
ACTIVATIONS = {"none": 0, "relu": 1, "slope": 2, "gelu": 3, "sigmoid": 4}
DEFAULTS = {
    "inputs": 0,
    "kernel": 1,
    "stride": 1,
    "pad": 0,
    "groups": 1,
    "activation": 0,
    "add_first": 0,
    "factor": 1,
    "depth_last": 0,
    "picture": 0,
    "add_degraded": 0,
    "weights": -1,
    "bias": -1,
    "slopes": -1,
}
"""Fields of an operation, in order; cpp/program.h says what they are."""


class TooLongError(ValueError):
    """A network of more operations than a program may have."""


@dataclass(frozen=True)
class Program:
    """What the compiled executor is given.

    Attributes:
        code: int64 numbers, in the order of cpp/program.cpp.
        numbers: float32 weights that they refer to.
        outputs: names of the images it makes, in order.
    """

    code: NDArray[np.int64]
    numbers: Floats
    outputs: tuple[str, ...]


class ProgramWriter:
    """The program so far."""

    def __init__(self) -> None:
        """Begin an empty program."""
        self.maps: list[int] = []
        self.operations: list[list[int]] = []
        self._numbers: list[Floats] = []
        self._count = 0

    def new_map(self, channels: int) -> int:
        """Return the number of a new map."""
        self.maps.append(channels)
        return len(self.maps) - 1

    def numbers(self, array: Floats | None) -> int:
        """Append weights and return where they begin; -1 for none."""
        if array is None:
            return -1
        self._numbers.append(np.ascontiguousarray(array, np.float32).ravel())
        self._count += array.size
        return self._count - array.size

    def operation(
        self,
        kind: int,
        target: tuple[int, int, int],
        views: Sequence[View] = (),
        **fields: int,
    ) -> None:
        """Append an operation.

        Args:
            kind: one of `INPUT`, `OUTPUT`, `CONVOLUTION`, `COMBINATION` and `PRODUCT`.
            target: the map it writes, from which channel on, and how many.
            views: what it reads.
            fields: those of `DEFAULTS` that differ.

        Raises:
            TooLongError: there is no place for one more.
        """
        record = [kind, *target, *(DEFAULTS | fields).values(), len(views)]
        for view in views:
            record += [view.value, view.channel, view.up, view.phases, view.down]
            record += [view.top, view.left, self.numbers(view.weight)]
        record += [-1, 0, 1, 0, 1, 0, 0, -1] * (MAX_TERMS - len(views))
        self.operations.append(record)
        if max(len(self.operations), len(self.maps)) > MAX_OPERATIONS:
            raise TooLongError(f"more than {MAX_OPERATIONS} operations")

    def finish(self, outputs: tuple[str, ...]) -> Program:
        """Return the program."""
        head = [VERSION, len(self.maps), len(self.operations), len(outputs)]
        code = np.array(head + self.maps + [n for o in self.operations for n in o], np.int64)
        numbers = np.concatenate([*self._numbers, np.zeros(1, np.float32)])
        return Program(code, numbers, outputs)
