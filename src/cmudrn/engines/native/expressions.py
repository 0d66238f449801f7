"""Values of a network that are not in memory: sums of weighted views of maps, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.layers import Floats


@dataclass(frozen=True)
class View:
    """Some channels of a map, one pixel read for one or several.

    Attributes:
        value: the map.
        channel: its first channel that is read.
        up: every pixel is read for up x up of them.
        phases: channels from what one of these reads to what the next one reads.
        down: only every down-th pixel is read, from (top, left) on.
        top: row of the first pixel.
        left: column of the first pixel.
        interleaved: channel c of the pixel (i, j) of up x up is read at c up up + i up + j.
        weight: factor of every channel; None is 1.
    """

    value: int
    channel: int = 0
    up: int = 1
    phases: int = 0
    down: int = 1
    top: int = 0
    left: int = 0
    interleaved: bool = False
    weight: Floats | None = field(default=None, compare=False)

    @property
    def plain(self) -> bool:
        """Whether it is nothing but channels of a map."""
        return self.up == self.down == 1 and self.weight is None

    def cut(self, start: int, count: int) -> View:
        """Return the view of some of its channels."""
        step = self.up**2 if self.interleaved else 1
        weight = None if self.weight is None else self.weight[start : start + count]
        return replace(self, channel=self.channel + start * step, weight=weight)


@dataclass(frozen=True)
class Piece:
    """Some channels of a value: a sum of views, and a bias."""

    count: int
    terms: tuple[View, ...]
    bias: Floats | None = None

    def cut(self, start: int, count: int) -> Piece:
        """Return some of its channels."""
        bias = None if self.bias is None else self.bias[start : start + count]
        return Piece(count, tuple(term.cut(start, count) for term in self.terms), bias)


Expression = tuple[Piece, ...]
"""A value: pieces one after another along its channels."""


@dataclass
class WaitingConvolution:
    """A convolution that waits for what becomes part of it."""

    source: View
    weight: Floats  # (outputs, inputs / groups, k, k)
    bias: Floats | None
    stride: int
    pad: int
    groups: int
    activation: str = "none"
    slopes: Floats | None = None

    @property
    def outputs(self) -> int:
        """Return the number of channels that it makes."""
        return len(self.weight)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Give every output the place that `order` says: new output i is the old order[i]."""
        self.weight = self.weight[order]
        self.bias = None if self.bias is None else self.bias[order]
        self.slopes = None if self.slopes is None else self.slopes[order]


@dataclass(frozen=True)
class Target:
    """Where the result of an operation goes, and the activation on its way there."""

    value: int
    channel: int = 0
    activation: str = "none"
    slopes: Floats | None = None


def most_terms(expression: Expression) -> int:
    """Return the number of views in the longest sum."""
    return max(len(piece.terms) for piece in expression)


def scaled(piece: Piece, factor: Floats) -> Piece:
    """Return a piece with every channel times its factor."""
    terms = tuple(
        replace(term, weight=factor if term.weight is None else term.weight * factor)
        for term in piece.terms
    )
    return Piece(piece.count, terms, None if piece.bias is None else piece.bias * factor)


def add_biases(a: Floats | None, b: Floats | None) -> Floats | None:
    """Return the sum of two biases, None being zeros."""
    if a is None or b is None:
        return a if b is None else b
    return a + b


def cut(expression: Expression, start: int, count: int) -> Expression:
    """Return some channels of a value."""
    pieces, at = [], 0
    for piece in expression:
        first, last = max(start, at), min(start + count, at + piece.count)
        if first < last:
            pieces.append(piece.cut(first - at, last - first))
        at += piece.count
    return tuple(pieces)


def side_by_side(left: Expression, right: Expression) -> Iterator[tuple[Piece, Piece]]:
    """Yield the pieces of two values, cut at the borders of both."""
    borders = {0}
    for expression in (left, right):
        borders.update(accumulate(piece.count for piece in expression))
    edges = sorted(borders)
    for start, end in pairwise(edges):
        (a,), (b,) = cut(left, start, end - start), cut(right, start, end - start)
        yield a, b
