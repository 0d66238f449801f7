"""Cutting a picture into windows that go through a network one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil

Area = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """One piece of the work.

    Attributes:
        window: rows and columns of the picture that the network sees.
        core: rows and columns of the picture that are kept of its answer.
        inner: where the core lies in the window.
    """

    window: Area
    core: Area
    inner: Area

    @property
    def pixels(self) -> int:
        """How many the network sees."""
        rows, columns = self.window
        return int((rows.stop - rows.start) * (columns.stop - columns.start))


def make_tiles(height: int, width: int, radius: int | None, max_pixels: int) -> list[Tile]:
    """Return tiles whose cores cover a picture once, at the least total work.

    A window reaches `radius` beyond its core, but never beyond the picture: there the network's
    own padding does what it does for the whole picture, so the pieces equal the whole.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        radius: how far an output pixel can see, pixels; None (unknown) makes one tile.
        max_pixels: largest window; raised where the radius leaves no reasonable core.
    """
    if radius is None or height * width <= max_pixels:
        whole = (slice(0, height), slice(0, width))
        return [Tile(whole, whole, whole)]
    core_height, core_width = _core_size(height, width, radius, max_pixels)
    rows = _spans(height, core_height, radius)
    columns = _spans(width, core_width, radius)
    return [
        Tile(*((vertical, horizontal) for vertical, horizontal in zip(row, column, strict=True)))
        for row, column in product(rows, columns)
    ]


def _core_size(height: int, width: int, radius: int, max_pixels: int) -> tuple[int, int]:
    """Return the core whose windows fit in max_pixels and add up to the fewest pixels."""
    max_pixels = max(max_pixels, (4 * radius + 16) ** 2)
    best = (float("inf"), 0, 0)
    for columns in range(1, ceil(width / 8) + 1):
        core_width = ceil(width / columns)
        highest = max_pixels // min(width, core_width + 2 * radius)
        rows = 1 if highest >= height else ceil(height / max(1, highest - 2 * radius))
        if rows > 1 and highest <= 2 * radius:
            continue
        core_height = ceil(height / rows)
        work = _work(height, core_height, radius) * _work(width, core_width, radius)
        best = min(best, (work, core_height, core_width))
    return best[1:]


def _work(length: int, core: int, radius: int) -> int:
    return sum(window.stop - window.start for window, _, _ in _spans(length, core, radius))


def _spans(length: int, core: int, radius: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield window, core and inner of each piece of one axis."""
    for start in range(0, length, core):
        stop = min(start + core, length)
        first = max(0, start - radius)
        window = slice(first, min(length, stop + radius))
        yield window, slice(start, stop), slice(start - first, stop - first)
