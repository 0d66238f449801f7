"""Pictures made smaller and coarse grids made larger, window by window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmudrn.image.picture import Image, Pixels, to_rgb

Floats = NDArray[np.float32]
Area = tuple[slice, slice]
"""Rows and columns of a picture."""

SIDE = 256
"""Rows and columns of a thumbnail, whatever the picture's shape."""


def make_thumbnail(picture: Pixels) -> Image:
    """Return a picture of any shape and type as (SIDE, SIDE, 3) float32: means over cells.

    A cell's rows and columns are those that it touches, at least one. Beside the picture this
    takes memory for SIDE of its rows only.
    """
    rows, columns = (_cells(side) for side in picture.shape[:2])
    # One column more than the picture has: reduceat wants every end to be a place.
    bands = np.zeros((SIDE, picture.shape[1] + 1, *picture.shape[2:]), np.float32)
    for band, first, last in zip(bands, *rows, strict=True):
        np.add.reduce(picture[first:last], 0, dtype=np.float32, out=band[:-1])
    sums = np.add.reduceat(bands, columns.T.ravel(), 1)[:, ::2]
    areas = np.outer(*(last - first for first, last in (rows, columns))).astype(np.float32)
    white = 1 if picture.dtype == np.float32 else np.iinfo(picture.dtype).max
    thumbnail: Image = to_rgb(sums) / (areas * np.float32(white))[..., None]
    return thumbnail


def _cells(length: int) -> NDArray[np.int64]:
    """Return the first position of each of the SIDE cells along an axis, and that after its last.

    They are those of `torch.nn.functional.adaptive_avg_pool2d`.
    """
    edges = np.arange(SIDE + 1) * length
    return np.stack([edges[:-1] // SIDE, -(-edges[1:] // SIDE)])


def enlarge(grid: Floats, area: Area, shape: tuple[int, int]) -> Floats:
    """Return a window of a coarse grid spread bilinearly over a picture, its edges repeated.

    Each value depends on its own place alone, so that windows are parts of the whole.

    Args:
        grid: (h, w) values at the middles of cells that cover the picture.
        area: rows and columns of the window.
        shape: (H, W) of the picture.
    """
    top, bottom, down = _between(area[0], shape[0], grid.shape[0])
    left, right, across = _between(area[1], shape[1], grid.shape[1])
    rows = grid[top] + down[:, None] * (grid[bottom] - grid[top])
    start = rows.take(left, 1)
    spread: Floats = start + across * (rows.take(right, 1) - start)
    return spread


def _between(
    span: slice, length: int, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return each position's cell before, cell after, and how far it is on the way."""
    place = np.clip((np.arange(span.start, span.stop) + 0.5) * cells / length - 0.5, 0, cells - 1)
    before = place.astype(np.int64)
    return before, np.minimum(before + 1, cells - 1), (place - before).astype(np.float32)
