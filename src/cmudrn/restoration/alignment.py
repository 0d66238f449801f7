"""A frame seen from where the camera was at another one: moved by an affine map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.restoration.motion import Map
from cmudrn.restoration.temporal_fusion import Planes

STILL = 0.06
"""A frame that moves nowhere further is taken as it is, pixels: interpolation would blur it."""
PRECISION = 16
"""Parts of a pixel to which shifts are rounded."""
SPREAD = 0.4
"""Pixels by which the shift may differ across a square that is moved as a whole."""
MIN_SIDE, MAX_ROWS, MAX_COLUMNS = 32, 16, 320
"""Side of the smallest square, and what is moved at a time at most, pixels: it fits the cache."""


def align(planes: Planes, motion: Map, missing: Planes) -> Planes:
    """Return planes as they look from another frame.

    The map is cut into squares, each shifted as a whole with a cubic filter (Keys, 1981).

    Args:
        planes: (C, H, W) of the frame to move.
        motion: where the points of the other frame lie in this one.
        missing: (C, H, W): what to take where the frame shows nothing.
    """
    _, height, width = planes.shape
    if _furthest(motion, height, width) <= STILL:
        return planes
    result = np.empty_like(planes)
    for rows, columns in _squares(motion, height, width):
        middle = ((rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2)
        shift = motion[:2] @ (*middle, 1.0) - middle
        steps = np.rint(shift * PRECISION).astype(int)
        (down, part_y), (right, part_x) = (divmod(int(step), PRECISION) for step in steps)
        _shift(planes, result, (rows, columns), (down, right), (part_y, part_x), missing)
    return result


def _furthest(motion: Map, height: int, width: int) -> float:
    corners = np.array([[y, x, 1.0] for y in (0, height - 1) for x in (0, width - 1)]).T
    return float(np.abs((motion @ corners - corners)[:2]).max())


def _squares(motion: Map, height: int, width: int) -> Iterator[tuple[slice, slice]]:
    linear = float(np.abs(motion[:2, :2] - np.eye(2)).sum(axis=1).max())
    side = max(MIN_SIDE, int(min(SPREAD / max(linear, 1e-9), height + width)))
    down = side if side <= 4 * MAX_ROWS else MAX_ROWS
    across = min(side, MAX_COLUMNS)
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield slice(top, min(top + down, height)), slice(left, min(left + across, width))


def _shift(
    planes: Planes,
    result: Planes,
    area: tuple[slice, slice],
    whole: tuple[int, int],
    parts: tuple[int, int],
    missing: Planes,
) -> None:
    """Fill an area of the result with what lies a shift away from it."""
    window, inside = [], []
    for cut, by, part, side in zip(area, whole, parts, planes.shape[1:], strict=True):
        reach = (1, 2) if part else (0, 0)
        at = np.arange(cut.start + by - reach[0], cut.stop + by + reach[1])
        window.append(np.clip(at, 0, side - 1))
        inner = at[reach[0] : at.size - reach[1]]
        inside.append((inner >= 0) & (inner + bool(part) <= side - 1))
    (first, last), (left, right) = ((at[0], at[-1] + 1) for at in window)
    values = planes[:, first:last, left:right]
    if values.shape[1:] != (window[0].size, window[1].size):
        values = values[:, window[0] - first][:, :, window[1] - left]
    moved = values
    if parts != (0, 0):
        moved = _interpolate(values.astype(np.float32), parts, planes.dtype)
    target = result[:, area[0], area[1]]
    target[...] = moved
    if not all(part.all() for part in inside):
        outside = ~np.outer(*inside)
        target[:, outside] = missing[:, area[0], area[1]][:, outside]


def _interpolate(
    values: NDArray[np.float32], parts: tuple[int, int], dtype: np.dtype[Any]
) -> Planes:
    if parts[0]:
        a, b, c, d = _cubic(parts[0] / PRECISION)
        rows = values.shape[1] - 3
        values = _weighted_sum(
            [
                (a, values[:, :rows]),
                (b, values[:, 1 : rows + 1]),
                (c, values[:, 2 : rows + 2]),
                (d, values[:, 3:]),
            ]
        )
    if parts[1]:
        a, b, c, d = _cubic(parts[1] / PRECISION)
        columns = values.shape[2] - 3
        values = _weighted_sum(
            [
                (a, values[..., :columns]),
                (b, values[..., 1 : columns + 1]),
                (c, values[..., 2 : columns + 2]),
                (d, values[..., 3:]),
            ]
        )
    if dtype == np.float32:
        return values
    np.rint(values, out=values)
    return np.clip(values, 0, np.iinfo(dtype).max, out=values)


def _weighted_sum(terms: list[tuple[float, NDArray[np.float32]]]) -> NDArray[np.float32]:
    factor, plane = terms[0]
    total = plane * np.float32(factor)
    part = np.empty_like(total)
    for factor, plane in terms[1:]:
        np.multiply(plane, np.float32(factor), out=part)
        total += part
    return total


def _cubic(part: float) -> tuple[float, float, float, float]:
    """Return the weights of four neighbours for a point between the middle two."""
    t = part
    return (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
