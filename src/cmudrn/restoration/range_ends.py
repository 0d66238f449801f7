"""White stays white, black stays black: even areas at an end of the range keep what they were.

A veil, rain and snow only ever add light to what they cover. What is white all around has no
texture by which a network could tell paper, a sky or a wall from weather, and takes some light
from it all the same. The change is held back there, more the nearer the darkest value around is to
white (or the brightest one to black), so that a ramp has no step.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Pixels, to_float

REACH = 8
"""Pixels in each direction that have to be as bright, or as dark."""

WHITE = (240 / 255, 252 / 255)
"""Darkest value around from which on the change is held back, and from which on wholly."""

BLACK = (6 / 255, 2 / 255)
"""Brightest value around likewise."""

_BAND_ROWS = 128


def hold_range_ends(degraded: Pixels, restored: Pixels) -> None:
    """Hold back restored's change from degraded in place where all is white or black around.

    Args:
        degraded: (H, W) or (H, W, 3).
        restored: of the same shape and type.
    """
    height = len(degraded)
    for start in range(0, height, _BAND_ROWS):
        stop = min(start + _BAND_ROWS, height)
        first, last = max(start - 2 * REACH, 0), min(stop + 2 * REACH, height)
        held = _held(degraded[first:last])
        if held is None:
            continue
        held = held[start - first : stop - first]
        if degraded.ndim == 3:
            held = held[..., None]
        band = restored[start:stop]
        change = (band.astype(np.float32) - degraded[start:stop]) * held
        kept = band - change
        band[...] = kept if degraded.dtype == np.float32 else np.rint(kept)


def _held(band: Pixels) -> NDArray[np.float32] | None:
    """Return how much of the change is held back, (H, W) in [0, 1]; None where nothing is."""
    channels = [band] if band.ndim == 2 else [band[..., c] for c in range(band.shape[2])]
    found = None
    for pick, ends in ((np.minimum, WHITE), (np.maximum, BLACK)):
        if not _beyond(band, pick, ends):
            continue
        # One channel after another: numpy is slow along an axis of three.
        plane = functools.reduce(pick, channels)
        if not _beyond(plane, pick, ends):
            continue
        worst = _worst_around(plane, pick)
        if not _beyond(worst, pick, ends):
            continue
        smooth = _mean_around(_held_back(worst, pick, ends))
        found = smooth if found is None else np.maximum(found, smooth)
    return found


def _beyond(plane: Pixels, pick: np.ufunc, ends: tuple[float, float]) -> bool:
    """Return whether any value is nearer to white, or to black, than where holding back begins."""
    best = plane.max() if pick is np.minimum else plane.min()
    return bool(_held_back(np.array([best]), pick, ends)[0] > 0)


def _held_back(plane: Pixels, pick: np.ufunc, ends: tuple[float, float]) -> NDArray[np.float32]:
    """Return how much of the change is held back where values are the worst ones around."""
    sign, (begin, end) = (1 if pick is np.minimum else -1), ends
    share = (sign * to_float(plane) - sign * begin) / abs(end - begin)
    held: NDArray[np.float32] = np.clip(share, 0, 1).astype(np.float32)
    return held


def _worst_around(plane: Pixels, pick: np.ufunc) -> Pixels:
    """Return the least value, or the greatest, within reach of each place.

    There is nothing beyond the border.
    """
    for axis in (0, 1):
        padded = np.pad(plane, [(REACH, REACH) if a == axis else (0, 0) for a in (0, 1)], "edge")
        width, wanted = 1, 2 * REACH + 1
        while width < wanted:
            step = min(width, wanted - width)
            behind, ahead = _along(padded, axis, 0, -step), _along(padded, axis, step, None)
            padded = pick(behind, ahead)
            width += step
        plane = padded
    return plane


def _along(plane: NDArray[Any], axis: int, start: int, stop: int | None) -> NDArray[Any]:
    """Return a part of the rows or columns, not copied."""
    part = slice(start, stop)
    return plane[part] if axis == 0 else plane[:, part]


def _mean_around(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean within reach of each place, never more than is held back there already."""
    mean = plane
    for axis in (0, 1):
        padded = np.pad(mean, [(REACH + 1, REACH) if a == axis else (0, 0) for a in (0, 1)], "edge")
        total = np.cumsum(padded, axis, dtype=np.float64)
        length, width = plane.shape[axis], 2 * REACH + 1
        sums = _along(total, axis, width, width + length) - _along(total, axis, 0, length)
        mean = (sums / width).astype(np.float32)
    return np.minimum(mean, plane)
