"""Cutting a picture into windows that go through a network one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil

Area = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """One piece of the work.

    Attributes:
        window: rows and columns of the image that the network sees.
        core: rows and columns of the image that are kept of its answer.
        inner: where the core lies in the window.
        padding: rows below and columns right of the window that the network sees beyond the
            image's edge, where its sides have to be multiples of something.
    """

    window: Area
    core: Area
    inner: Area
    padding: tuple[int, int] = (0, 0)

    @property
    def pixels(self) -> int:
        """How many the network sees."""
        rows, columns = self.window
        height = rows.stop - rows.start + self.padding[0]
        return int(height * (columns.stop - columns.start + self.padding[1]))


@dataclass(frozen=True)
class _Span:
    """A tile along one axis."""

    window: slice
    core: slice
    inner: slice
    padding: int

    @property
    def length(self) -> int:
        return int(self.window.stop - self.window.start + self.padding)


def make_tiles(
    height: int, width: int, radius: int | None, max_pixels: int, alignment: int = 1
) -> list[Tile]:
    """Return tiles whose cores cover an image once, at the least total work.

    A window reaches `radius` beyond its core, but never beyond the image: there the network's
    own padding does what it does for the whole image, so the pieces equal the whole. A network
    with strides sees its grid from the corner of what it is given: windows then start at
    multiples of `alignment` and have such sides, and so does the padded image.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        radius: how far an output pixel can see, pixels; None (unknown) makes one tile.
        max_pixels: largest window; raised where the radius leaves no reasonable core.
        alignment: what corners and sides of windows are multiples of.
    """
    core_height, core_width = height, width
    if radius is not None and height * width > max_pixels:
        core_height, core_width = _core_size(height, width, radius, max_pixels, alignment)
    return cut_tiles(height, width, (core_height, core_width), radius or 0, alignment)


def make_strips(
    height: int, width: int, radius: int | None, max_columns: int, alignment: int = 1
) -> list[Tile]:
    """Return strips of an image's whole height, as `make_tiles`, whose windows have one width.

    An engine then has the memory of one strip for the next.

    Args:
        height: see `make_tiles`.
        width: see `make_tiles`.
        radius: see `make_tiles`.
        max_columns: widest window; raised where the radius leaves no reasonable core.
        alignment: see `make_tiles`.
    """
    if radius is None or width <= max_columns:
        return cut_tiles(height, width, (height, width), radius or 0, alignment)
    columns = _equal_spans(width, radius, max_columns, alignment)
    return _combined(_spans(height, height, radius, alignment), columns)


def cut_tiles(
    height: int, width: int, core: tuple[int, int], radius: int, alignment: int = 1
) -> list[Tile]:
    """Return tiles of one size of core, as `make_tiles`.

    Args:
        height: see `make_tiles`.
        width: see `make_tiles`.
        core: rows and columns of a tile's core; the last ones may be smaller.
        radius: see `make_tiles`.
        alignment: see `make_tiles`.
    """
    rows = _spans(height, core[0], radius, alignment)
    return _combined(rows, _spans(width, core[1], radius, alignment))


def _combined(rows: Iterable[_Span], columns: Iterable[_Span]) -> list[Tile]:
    return [
        Tile(
            (row.window, column.window),
            (row.core, column.core),
            (row.inner, column.inner),
            (row.padding, column.padding),
        )
        for row, column in product(rows, columns)
    ]


def _core_size(
    height: int, width: int, radius: int, max_pixels: int, alignment: int
) -> tuple[int, int]:
    """Return the core whose windows fit in max_pixels and add up to the fewest pixels."""
    margin = radius + alignment - 1  # a window is widened to multiples on both sides
    max_pixels = max(max_pixels, (4 * margin + 16) ** 2)
    best = (float("inf"), 0, 0)
    for columns in range(1, ceil(width / 8) + 1):
        core_width = ceil(width / columns)
        highest = max_pixels // min(_up(width, alignment), core_width + 2 * margin)
        fits = highest >= _up(height, alignment)
        if not fits and highest <= 2 * margin:
            continue
        rows = 1 if fits else ceil(height / (highest - 2 * margin))
        core_height = ceil(height / rows)
        work = _work(height, core_height, radius, alignment)
        work *= _work(width, core_width, radius, alignment)
        best = min(best, (work, core_height, core_width))
    return best[1:]


def _work(length: int, core: int, radius: int, alignment: int) -> int:
    return sum(span.length for span in _spans(length, core, radius, alignment))


def _spans(length: int, core: int, radius: int, alignment: int) -> Iterator[_Span]:
    """Yield the pieces of one axis."""
    for start in range(0, length, core):
        stop = min(start + core, length)
        first = max(0, start - radius) // alignment * alignment
        last = _up(min(length, stop + radius), alignment)
        window = slice(first, min(length, last))
        inner = slice(start - first, stop - first)
        yield _Span(window, slice(start, stop), inner, max(0, last - length))


def _equal_spans(length: int, radius: int, most: int, alignment: int) -> Iterator[_Span]:
    """Yield the pieces of one axis, with windows of one length that begin at even distances."""
    padded = _up(length, alignment)
    overlap = 2 * radius + alignment - 1  # the beginning of a window is moved to a multiple
    most = max(most // alignment * alignment, _up(2 * overlap + 16, alignment))
    count = max(1, ceil((padded - overlap) / (most - overlap)))
    window = _up(ceil((padded + (count - 1) * overlap) / count), alignment)
    steps = max(1, count - 1)
    firsts = [(padded - window) * i // steps // alignment * alignment for i in range(count)]
    within = [(before + window + first) // 2 for before, first in pairwise(firsts)]
    for first, start, stop in zip(firsts, [0, *within], [*within, length], strict=True):
        last = first + window
        inner = slice(start - first, stop - first)
        yield _Span(
            slice(first, min(length, last)), slice(start, stop), inner, max(0, last - length)
        )


def _up(length: int, alignment: int) -> int:
    return -(-length // alignment) * alignment
