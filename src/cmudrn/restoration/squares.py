"""Frames by squares of four by four pixels: their means, and how frames of one scene differ there.

Compiled functions do the work for 8 bits, and NumPy elsewhere, with the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.frames import frame_kernels

Floats = NDArray[np.float32]
Whole = NDArray[np.int32]
Planes = NDArray[Any]
"""(2C, H, W): the channels of a raw frame, then those of the restored one."""

SQUARE = 4
"""Side of the squares that share their weights, pixels."""

_SORT = ((0, 1), (3, 4), (2, 4), (2, 3), (1, 4), (0, 3), (0, 2), (1, 3), (1, 2))
"""Comparisons of a sorting network for five values."""


def sort_five(values: Sequence[Planes]) -> list[Planes]:
    """Return the values of five arrays at each place, sorted: the lowest, and so on."""
    ordered = list(values)
    for low, high in _SORT:
        one, other = ordered[low], ordered[high]
        ordered[low], ordered[high] = np.minimum(one, other), np.maximum(one, other)
    return ordered


def square_means(planes: Planes) -> Floats:
    """Return means over squares, in 255ths: (3, rows of squares, columns of squares).

    They are the brightness of the raw frame, that of the restored one, and red less blue of the
    restored one. The last squares may be narrower.
    """
    channels = len(planes) // 2
    luma = {1: (1,), 3: (1, 2, 1)}[channels]
    if planes.dtype == np.uint8 and (kernels := frame_kernels()):
        sums = kernels.means(planes).astype(np.float32)
    else:
        rows = [_add_rows(plane) for plane in planes]
        both = [
            _add([row for row, n in zip(part, luma, strict=True) for _ in range(n)])
            for part in (rows[:channels], rows[channels:])
        ]
        sums = np.stack([_add_columns(row) for row in (*both, rows[channels] - rows[-1])])
    means: Floats = sums.astype(np.float32) * np.float32(255 / (_white(planes) * SQUARE**2))
    means[:2] /= np.float32(sum(luma))
    return means


def differences(window: Sequence[Planes], current: int) -> Floats:
    """Return how five frames differ from pixel to pixel, means over squares and channels.

    They are in 255ths, (14, rows of squares, columns of squares). Of the restored values of a
    place, sorted: the second less the first, the third less the second, the fourth less the third;
    by how much the current value is below the third, and above it. The same five of the raw
    values. Then the difference of the current restored frame from each of the other four.

    Args:
        window: five frames as they look from the current one.
        current: which of them is fused.
    """
    channels = len(window[0]) // 2
    if window[0].dtype == np.uint8 and (kernels := frame_kernels()):
        sums = kernels.compare(window, current).astype(np.float32)
    else:
        ordered, parts = sort_five(window), list[Planes]()
        for cut in (slice(channels, None), slice(channels)):
            values, now = [planes[cut] for planes in ordered], window[current][cut]
            less = np.minimum(values[2], now)
            parts += [values[n + 1] - values[n] for n in range(3)]
            parts += [values[2] - less, now - less]
        now = window[current][channels:]
        for number, planes in enumerate(window):
            if number != current:
                other = planes[channels:]
                parts.append(np.maximum(now, other) - np.minimum(now, other))
        sums = np.stack([_add_columns(_add([_add_rows(p) for p in part])) for part in parts])
    scale = 255 / (_white(window[0]) * SQUARE**2 * channels)
    return sums.astype(np.float32) * np.float32(scale)


def box_sums(planes: Whole, reach: int) -> Whole:
    """Return sums over 2 reach + 1 rows and columns of (N, h, w); borders are repeated."""
    for axis in (1, 2):
        width = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded, length = np.pad(planes, width, mode="edge"), planes.shape[axis]
        total = np.zeros_like(planes)
        for start in range(2 * reach + 1):
            total += padded[(slice(None),) * axis + (slice(start, start + length),)]
        planes = total
    return planes


def _white(planes: Planes) -> float:
    return 1.0 if planes.dtype == np.float32 else float(np.iinfo(planes.dtype).max)


def _add_rows(plane: Planes) -> Planes:
    """Return the sums of four rows each; the last row is repeated."""
    plane = _filled(plane, 0)
    # Sums of 8 bits fit 16: 4 x 4 pixels x 4.
    kind = np.int16 if plane.dtype == np.uint8 else np.float32
    return _add([plane[n::SQUARE].astype(kind) for n in range(SQUARE)])


def _add_columns(rows: Planes) -> Planes:
    """Return the sums of four columns each; the last column is repeated."""
    rows = _filled(rows, 1)
    return _add([rows[:, n::SQUARE] for n in range(SQUARE)])


def _filled(plane: Planes, axis: int) -> Planes:
    missing = -plane.shape[axis] % SQUARE
    width = [(0, missing if a == axis else 0) for a in range(2)]
    return np.pad(plane, width, mode="edge") if missing else plane


def _add(arrays: Sequence[Planes]) -> Planes:
    total: Planes = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total
