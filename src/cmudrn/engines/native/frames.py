"""The compiled functions that fusion over time calls, for planes of 8 bits; `cpp/frames.cpp`.

`restoration` does the same in NumPy where they are absent, and for other kinds of pixels. The
results are equal to the last bit.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.library import NativeUnavailableError, load_library

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Whole = NDArray[np.int32]

SQUARE = 4
"""Side of the squares, pixels."""

_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_SIGNATURES: dict[str, list[Any]] = {
    "cmudrn_frames_shift": [*[_POINTER] * 3, *[_INT] * 4, _POINTER, _INT, _POINTER],
    "cmudrn_frames_compare": [_POINTER, *[_INT] * 4, _POINTER],
    "cmudrn_frames_means": [_POINTER, *[_INT] * 3, _POINTER],
    "cmudrn_frames_mix": [_POINTER, *[_INT] * 5, *[_POINTER] * 2],
    "cmudrn_frames_weigh": [*[_POINTER] * 2, *[_INT] * 4, *[_POINTER] * 4, _INT, _POINTER],
    "cmudrn_frames_split": [*[_POINTER] * 2, _LONG],
    "cmudrn_frames_join": [*[_POINTER] * 2, _LONG],
}


class FrameKernels:
    """The functions, with arrays for pointers. Planes are (channels, H, W), in one piece."""

    def __init__(self, library: Any) -> None:
        self._library = library
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = arguments
            function.restype = None if name.endswith(("split", "join")) else ctypes.c_int

    def shift(
        self, planes: Bytes, missing: Bytes, squares: Whole, filters: NDArray[np.int16]
    ) -> Bytes:
        """Return planes, each square shifted by its own part.

        Args:
            planes: of the frame to move.
            missing: what to take beyond its borders; fewer channels are repeated.
            squares: (N, 8): rows and columns, begin and end; shift down and right; parts of both.
            filters: (parts, 4): weights in 64ths.
        """
        planes, missing = np.ascontiguousarray(planes), np.ascontiguousarray(missing)
        squares, result = np.ascontiguousarray(squares, np.int32), np.empty_like(planes)
        self._call(
            "shift", _at(planes), _at(missing), _at(result), len(planes), len(missing),
            *planes.shape[1:], _at(squares), len(squares), _at(filters),
        )  # fmt: skip
        return result

    def compare(self, window: Sequence[Bytes], current: int) -> Whole:
        """Return sums over squares of how five frames differ; see `cpp/frames.cpp`."""
        window = [np.ascontiguousarray(planes) for planes in window]
        count, height, width = window[0].shape
        sums = np.empty((14, -(-height // SQUARE), -(-width // SQUARE)), np.int32)
        self._call("compare", _all(window), current, count // 2, height, width, _at(sums))
        return sums

    def means(self, planes: Bytes) -> Whole:
        """Return sums over squares: raw and restored brightness, red less blue of the latter."""
        planes = np.ascontiguousarray(planes)
        count, height, width = planes.shape
        sums = np.empty((3, -(-height // SQUARE), -(-width // SQUARE)), np.int32)
        self._call("means", _at(planes), count // 2, height, width, _at(sums))
        return sums

    def mix(
        self, window: Sequence[Bytes], current: int, shares: NDArray[np.uint16], takes_raw: bool
    ) -> Bytes:
        """Return the fused frame; shares are (6, rows, columns) of squares, in 256ths."""
        window = [np.ascontiguousarray(planes) for planes in window]
        count, height, width = window[0].shape
        shares, result = (
            np.ascontiguousarray(shares),
            np.empty((count // 2, height, width), np.uint8),
        )
        self._call(
            "mix", _all(window), current, count // 2, height, width, int(takes_raw),
            _at(shares), _at(result),
        )  # fmt: skip
        return result

    def weigh(
        self,
        means: Sequence[Floats],
        apart: Floats,
        current: int,
        takes_raw: bool,
        layers: Sequence[tuple[NDArray[np.int16], Whole]],
        decay: Whole,
    ) -> NDArray[np.uint16]:
        """Return the shares of six candidates, (6, rows, columns) of squares, in 256ths.

        Args:
            means: of five frames, (3, rows, columns).
            apart: how they differ, (14, rows, columns).
            current: which of them is fused.
            takes_raw: whether raw values may be taken.
            layers: three times weights (outputs, inputs) and biases of a perceptron.
            decay: values of the exponential function.
        """
        means = [np.ascontiguousarray(one, np.float32) for one in means]
        apart, shape = np.ascontiguousarray(apart, np.float32), apart.shape[1:]
        sizes = np.array([layers[0][0].shape[1], *(len(one) for one, _ in layers)], np.int32)
        weights = np.concatenate([one.ravel() for one, _ in layers]).astype(np.int16)
        biases = np.concatenate([one for _, one in layers]).astype(np.int32)
        shares = np.empty((int(sizes[-1]), *shape), np.uint16)
        self._call(
            "weigh", _all(means), _at(apart), current, int(takes_raw), *shape,
            _at(sizes), _at(weights), _at(biases), _at(decay), len(decay), _at(shares),
        )  # fmt: skip
        return shares

    def split(self, image: Bytes, planes: Bytes) -> None:
        """Fill (3, H, W) with the channels of (H, W, 3)."""
        image = np.ascontiguousarray(image)
        self._library.cmudrn_frames_split(_at(image), _at(planes), image.size // 3)

    def join(self, planes: Bytes) -> Bytes:
        """Return (H, W, 3) of (3, H, W)."""
        planes = np.ascontiguousarray(planes)
        image = np.empty((*planes.shape[1:], 3), np.uint8)
        self._library.cmudrn_frames_join(_at(planes), _at(image), planes[0].size)
        return image

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, f"cmudrn_frames_{name}")(*arguments):
            raise MemoryError


def frame_kernels() -> FrameKernels | None:
    """Return the compiled functions, or None where they are absent or switched off."""
    try:
        return _kernels(load_library())
    except (NativeUnavailableError, AttributeError):  # the latter: an older library
        return None


@functools.cache
def _kernels(library: ctypes.CDLL) -> FrameKernels:
    return FrameKernels(library)


def _at(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _all(arrays: Sequence[NDArray[Any]]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(_at(array) for array in arrays))
