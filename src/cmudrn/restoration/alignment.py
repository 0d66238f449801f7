"""A frame seen from where the camera was at another one: moved by an affine map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.frames import frame_kernels
from cmudrn.restoration.motion import Map
from cmudrn.restoration.squares import Planes

STILL = 0.06
"""A frame that moves nowhere further is taken as it is, pixels: interpolation would blur it."""
PRECISION = 16
"""Parts of a pixel to which shifts are rounded."""
SPREAD = 0.4
"""Pixels by which the shift may differ across a square that is moved as a whole."""
SCALE = 64
"""What the weights of whole numbers sum up to."""
MIN_SIDE, MAX_ROWS, MAX_COLUMNS = 32, 32, 320
"""Side of the smallest square, and what is moved at a time at most, pixels: it fits the cache."""


def align(planes: Planes, motion: Map, missing: Planes) -> Planes:
    """Return planes as they look from another frame.

    The map is cut into squares, each shifted as a whole with a cubic filter (Keys, 1981).

    Args:
        planes: (C, H, W) of the frame to move.
        motion: where the points of the other frame lie in this one.
        missing: what to take where the frame shows nothing, (C, H, W), or fewer channels that are
            repeated.
    """
    _, height, width = planes.shape
    if is_still(motion, height, width):
        return planes
    squares = _squares(motion, height, width)
    if planes.dtype == np.uint8 and (kernels := frame_kernels()):
        return kernels.shift(planes, missing, squares, _all_whole_weights())
    result = np.empty_like(planes)
    for top, bottom, left, right, down, across, part_y, part_x in squares.tolist():
        area = slice(top, bottom), slice(left, right)
        _shift(planes, result, area, (down, across), (part_y, part_x), missing)
    return result


def is_still(motion: Map, height: int, width: int) -> bool:
    """Return whether a map moves no point of a frame that far that it would be seen."""
    corners = np.array([[y, x, 1.0] for y in (0, height - 1) for x in (0, width - 1)]).T
    return float(np.abs((motion @ corners - corners)[:2]).max()) <= STILL


def _squares(motion: Map, height: int, width: int) -> NDArray[np.int32]:
    """Return (N, 8): a square's rows and columns, its shift down and right, and parts of both."""
    linear = float(np.abs(motion[:2, :2] - np.eye(2)).sum(axis=1).max())
    side = max(MIN_SIDE, int(min(SPREAD / max(linear, 1e-9), height + width)))
    down = side if side <= 4 * MAX_ROWS else MAX_ROWS
    across = min(side, MAX_COLUMNS)
    edges = np.meshgrid(np.arange(0, height, down), np.arange(0, width, across), indexing="ij")
    top, left = (edge.ravel() for edge in edges)
    bottom, right = np.minimum(top + down, height), np.minimum(left + across, width)
    middle = np.stack([(top + bottom - 1) / 2, (left + right - 1) / 2])
    shift = motion[:2, :2] @ middle + motion[:2, 2:] - middle
    whole, part = np.divmod(np.rint(shift * PRECISION).astype(int), PRECISION)
    return np.stack([top, bottom, left, right, *whole, *part], axis=1).astype(np.int32)


def _shift(
    planes: Planes,
    result: Planes,
    area: tuple[slice, slice],
    whole: tuple[int, int],
    parts: tuple[int, int],
    missing: Planes,
) -> None:
    """Fill an area of the result with what lies a shift away from it."""
    # Filters reach one pixel back and two on.
    window = [
        slice(cut.start + by - bool(part), cut.stop + by + 2 * bool(part))
        for cut, by, part in zip(area, whole, parts, strict=True)
    ]
    target, sides = result[:, area[0], area[1]], planes.shape[1:]
    if all(cut.start >= 0 and cut.stop <= side for cut, side in zip(window, sides, strict=True)):
        _interpolate(planes[:, window[0], window[1]], parts, target)
        return
    at = [np.arange(cut.start, cut.stop) for cut in window]
    nearest = [np.clip(a, 0, side - 1) for a, side in zip(at, sides, strict=True)]
    _interpolate(planes[:, nearest[0]][:, :, nearest[1]], parts, target)
    inner = [a[1:-2] if part else a for a, part in zip(at, parts, strict=True)]
    shown = [
        (a >= 0) & (a + bool(part) < side)
        for a, part, side in zip(inner, parts, sides, strict=True)
    ]
    outside = ~np.outer(*shown)
    own = missing[:, area[0], area[1]][:, outside]
    target[:, outside] = np.tile(own, (len(target) // len(own), 1))


def _interpolate(values: Planes, parts: tuple[int, int], target: Planes) -> None:
    """Fill the target with values between the given ones, by parts of a pixel down and across."""
    if parts == (0, 0):
        target[...] = values
        return
    # Sums of 8 bits fit 16, of which a processor adds twice as many at a time.
    kind = np.int16 if target.dtype == np.uint8 else np.float32
    flat: Planes = values.astype(kind).ravel()
    for step, part in zip((values.shape[2], 1), parts, strict=True):
        if part and kind == np.int16:
            flat = _filter(flat, step, _whole_weights(part))
            flat += SCALE // 2
            flat >>= SCALE.bit_length() - 1
        elif part:
            flat = _filter(flat, step, _cubic(part / PRECISION))
    if target.dtype != np.float32:
        if kind == np.float32:
            np.rint(flat, out=flat)
        np.clip(flat, 0, np.iinfo(target.dtype).max, out=flat)
    target[...] = flat.reshape(values.shape)[:, : target.shape[1], : target.shape[2]]


def _filter(flat: Planes, step: int, weights: Sequence[float]) -> Planes:
    """Return weighted sums of each value and the three that follow it by steps.

    Rows and planes lie in one line, which is filtered at once: what is at the end of each comes
    out mixed with the next, and is not used.
    """
    length = len(flat) - 3 * step
    result = np.zeros_like(flat)
    total, part = result[:length], np.empty(length, flat.dtype)
    for start, weight in enumerate(weights):
        np.multiply(flat[start * step : start * step + length], flat.dtype.type(weight), out=part)
        total += part
    return result


@cache
def _all_whole_weights() -> NDArray[np.int16]:
    """Return `_whole_weights` of every part, (PRECISION, 4)."""
    return np.array([_whole_weights(part) for part in range(PRECISION)], np.int16)


@cache
def _whole_weights(part: int) -> tuple[int, ...]:
    """Return `_cubic` in whole numbers that sum up to SCALE."""
    weights = [round(SCALE * weight) for weight in _cubic(part / PRECISION)]
    weights[1 if 2 * part <= PRECISION else 2] += SCALE - sum(weights)
    return tuple(weights)


def _cubic(part: float) -> tuple[float, float, float, float]:
    """Return the weights of four neighbours for a point between the middle two."""
    t = part
    return (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
