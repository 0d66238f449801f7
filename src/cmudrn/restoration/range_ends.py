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
from cmudrn.restoration.tiling import cut_tiles

REACH = 8
"""Pixels in each direction that have to be as bright, or as dark."""

WHITE = (240 / 255, 252 / 255)
"""Darkest value around from which on the change is held back, and from which on wholly."""

BLACK = (6 / 255, 2 / 255)
"""Brightest value around likewise."""

_PART = (256, 512)
"""Rows and columns that are looked at together: what takes place in an image's few even areas."""


def hold_range_ends(degraded: Pixels, restored: Pixels) -> None:
    """Hold back restored's change from degraded in place where all is white or black around.

    Args:
        degraded: (H, W) or (H, W, 3).
        restored: of the same shape and type.
    """
    height, width = degraded.shape[:2]
    for tile in cut_tiles(height, width, _PART, 2 * REACH):
        held = _held(degraded[tile.window])
        if held is None:
            continue
        part, source, held = restored[tile.core], degraded[tile.core], held[tile.inner]
        there = held > 0
        share = held[there] if degraded.ndim == 2 else held[there][:, None]
        made = part[there]
        kept = made - (made.astype(np.float32) - source[there]) * share
        part[there] = kept if degraded.dtype == np.float32 else np.rint(kept)


def _held(part: Pixels) -> NDArray[np.float32] | None:
    """Return how much of the change is held back, (H, W) in [0, 1]; None where nothing is."""
    channels = [part] if part.ndim == 2 else [part[..., c] for c in range(part.shape[2])]
    found = None
    for pick, ends in ((np.minimum, WHITE), (np.maximum, BLACK)):
        if not _beyond(part, pick, ends):
            continue
        # One channel after another: numpy is slow along an axis of three.
        plane = functools.reduce(pick, channels)
        if not _beyond(plane, pick, ends):
            continue
        worst = _worst_around(plane, pick)
        if not _beyond(worst, pick, ends):
            continue
        held = _held_back(worst, pick, ends)
        area = _area(held > 0)
        held[area] = _mean_around(held[area])
        found = held if found is None else np.maximum(found, held)
    return found


def _area(there: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns that hold all places that are true, and what is around them."""
    rows, columns = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, rows[0] - REACH), rows[-1] + REACH + 1),
        slice(max(0, columns[0] - REACH), columns[-1] + REACH + 1),
    )


def _beyond(plane: Pixels, pick: np.ufunc, ends: tuple[float, float]) -> bool:
    """Return whether any value is nearer to white, or to black, than where holding back begins."""
    best = plane.max() if pick is np.minimum else plane.min()
    return bool(_held_back(np.array([best]), pick, ends)[0] > 0)


def _held_back(plane: Pixels, pick: np.ufunc, ends: tuple[float, float]) -> NDArray[np.float32]:
    """Return how much of the change is held back where values are the worst ones around."""
    if plane.dtype != np.float32 and plane.size > 1 << 16:  # look each value up
        values = np.arange(np.iinfo(plane.dtype).max + 1).astype(plane.dtype)
        return np.take(_held_back(values, pick, ends), plane)
    sign, (begin, end) = (1 if pick is np.minimum else -1), ends
    share = (sign * to_float(plane) - sign * begin) / abs(end - begin)
    held: NDArray[np.float32] = np.clip(share, 0, 1).astype(np.float32)
    return held


def _worst_around(plane: Pixels, pick: np.ufunc) -> Pixels:
    """Return the least value, or the greatest, within reach of each place.

    There is nothing beyond the border.
    """
    return _around(_around(plane, pick, 0), pick, 1)


def _around(plane: NDArray[Any], join: np.ufunc, axis: int) -> NDArray[Any]:
    """Return what joins the values within reach along one axis; edges are repeated.

    Twice as many values are joined each time: 2, 4, 8, 16, and one more.
    """
    ends = [(0, 0), (0, 0)]
    ends[axis] = (REACH, REACH)
    padded = np.pad(plane, ends, "edge")
    joined, width = padded, 1
    while width < 2 * REACH:  # a power of two
        joined = join(_along(joined, axis, 0, -width), _along(joined, axis, width, None))
        width *= 2
    around: NDArray[Any] = join(_along(joined, axis, 0, -1), _along(padded, axis, width, None))
    return around


def _along(plane: NDArray[Any], axis: int, start: int, stop: int | None) -> NDArray[Any]:
    """Return a part of the rows or columns, not copied."""
    part = slice(start, stop)
    return plane[part] if axis == 0 else plane[:, part]


def _mean_around(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean within reach of each place, never more than is held back there already."""
    mean = _around(_around(plane, np.add, 0), np.add, 1)
    mean /= (2 * REACH + 1) ** 2
    smooth: NDArray[np.float32] = np.minimum(mean, plane)
    return smooth
