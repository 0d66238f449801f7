"""A list of layers as a program of the compiled executor (cpp/program.h).

Layers that only move or weigh numbers (slices, concatenations, sums, factors, changes of
resolution) become no operations of their own where the next one can read their inputs in place: a
value is kept as an `Expression`, a sum of weighted views of maps, until something needs its
numbers in memory. Convolutions wait likewise, so that an activation, a residual or a place in a
concatenation becomes part of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.layers import Layer, LayerList

Floats = NDArray[np.float32]

VERSION = 1
DEGRADED = -1
"""The map that stands for the degraded image."""
MAX_TERMS = 4
MAX_OPERATIONS = 8192
"""Operations, and maps, of a program; more are left to another engine."""
INPUT, OUTPUT, CONVOLUTION, COMBINATION, PRODUCT = range(5)
ACTIVATIONS = {"none": 0, "relu": 1, "slope": 2, "gelu": 3, "sigmoid": 4}
MIN_GROUP_CHANNELS = 8
"""Outputs of a group; groups of fewer run together, with zeros between them."""


class TooLongError(ValueError):
    """A network of more operations than a program may have."""


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


@dataclass(frozen=True)
class Program:
    """What the compiled executor is given.

    Attributes:
        code: int64 numbers, in the order of cpp/program.cpp.
        numbers: float32 weights that they refer to.
        outputs: names of the images it makes, in order.
    """

    code: NDArray[np.int64]
    numbers: Floats
    outputs: tuple[str, ...]


@dataclass
class _Convolution:
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
        return len(self.weight)

    def reorder(self, order: NDArray[np.intp]) -> None:
        """Give every output the place that `order` says: new output i is the old order[i]."""
        self.weight = self.weight[order]
        self.bias = None if self.bias is None else self.bias[order]
        self.slopes = None if self.slopes is None else self.slopes[order]


def lower(layers: LayerList) -> Program:
    """Return a network as a program.

    Raises:
        TooLongError: it has more layers than a program may.
    """
    return _Lowering(layers).program()


class _Writer:
    """The program so far."""

    def __init__(self) -> None:
        self.maps: list[int] = []
        self.operations: list[list[int]] = []
        self._numbers: list[Floats] = []
        self._count = 0

    def new_map(self, channels: int) -> int:
        self.maps.append(channels)
        return len(self.maps) - 1

    def numbers(self, array: Floats | None) -> int:
        if array is None:
            return -1
        self._numbers.append(np.ascontiguousarray(array, np.float32).ravel())
        self._count += array.size
        return self._count - array.size

    def operation(
        self, kind: int, value: int, channel: int, outputs: int, views: Iterable[View] = (),
        **about: int,
    ) -> None:  # fmt: skip
        fields = {
            "inputs": 0, "kernel": 1, "stride": 1, "pad": 0, "groups": 1, "activation": 0,
            "add_first": 0, "factor": 1, "depth_last": 0, "picture": 0, "add_degraded": 0,
            "weights": -1, "bias": -1, "slopes": -1,
        } | about  # fmt: skip
        sources = [
            [v.value, v.channel, v.up, v.phases, v.down, v.top, v.left, self.numbers(v.weight)]
            for v in views
        ]
        empty = [[-1, 0, 1, 0, 1, 0, 0, -1]] * (MAX_TERMS - len(sources))
        record = [kind, value, channel, outputs, *fields.values(), len(sources)]
        self.operations.append(record + [n for source in sources + empty for n in source])
        if max(len(self.operations), len(self.maps)) > MAX_OPERATIONS:
            raise TooLongError(f"more than {MAX_OPERATIONS} operations")

    def finish(self, outputs: tuple[str, ...]) -> Program:
        head = [VERSION, len(self.maps), len(self.operations), len(outputs)]
        code = np.array(head + self.maps + [n for o in self.operations for n in o], np.int64)
        numbers = np.concatenate([*self._numbers, np.zeros(1, np.float32)])
        return Program(code, numbers, outputs)


class _Lowering:
    """Turns one network into a program, layer by layer."""

    def __init__(self, layers: LayerList) -> None:
        self._layers, self._writer = layers, _Writer()
        self._uses = Counter(value for layer in layers.layers for value in layer.inputs)
        self._uses.update(layers.outputs.values())
        self._values: dict[int, Expression] = {0: (Piece(3, (View(DEGRADED),)),)}
        self._waiting: dict[int, _Convolution] = {}
        self._degraded: dict[tuple[int, str], View] = {}

    def program(self) -> Program:
        """Return the program."""
        for layer in self._layers.layers:
            made = getattr(self, f"_{layer.operator}")(layer)
            if self._uses[layer.output] > 1 and not self._readable(made):
                made = self._store(made)
            self._values[layer.output] = made
        for index, value in enumerate(self._layers.outputs.values()):
            self._return(index, self._values[value])
        return self._writer.finish(tuple(self._layers.outputs))

    def _input(self, layer: Layer, index: int = 0) -> Expression:
        return self._values[layer.inputs[index]]

    # Layers.

    def _conv(self, layer: Layer) -> Expression:
        assert layer.weight is not None
        weight, groups = _merge_groups(layer.weight, layer.groups)
        mixed = self._mix(layer)
        if mixed is not None:
            return mixed
        source = self._plain(self._input(layer))
        return self._wait(
            _Convolution(source, weight, layer.bias, layer.stride, layer.pad, groups)
        )

    def _conv_transpose(self, layer: Layer) -> Expression:
        """Write it as a convolution that makes the four pixels of a block as channels."""
        assert layer.weight is not None
        weight, groups = layer.weight, layer.groups  # (inputs, outputs / groups, k, k)
        inputs, each, kernel, _ = weight.shape
        by_group = weight.reshape(groups, inputs // groups, each, kernel, kernel)
        side = 1 if kernel == 2 else 3
        phases = np.zeros((groups, 2, 2, each, inputs // groups, side, side), np.float32)
        taps = _transposed_taps(kernel)
        for (i, y, ky), (j, x, kx) in ((v, h) for v in taps for h in taps):
            phases[:, i, j, :, :, y, x] = by_group[:, :, :, ky, kx].swapaxes(1, 2)
        bias = layer.bias
        if bias is not None:
            bias = np.tile(bias.reshape(groups, 1, each), (1, 4, 1)).ravel()
        source = self._plain(self._input(layer))
        rows = phases.reshape(-1, inputs // groups, side, side)
        (piece,) = self._wait(_Convolution(source, rows, bias, 1, side // 2, groups))
        return tuple(
            Piece(each, (View(piece.terms[0].value, 4 * each * g, up=2, phases=each),))
            for g in range(groups)
        )

    def _relu(self, layer: Layer) -> Expression:
        return self._activate(self._input(layer), "relu")

    def _gelu(self, layer: Layer) -> Expression:
        return self._activate(self._input(layer), "gelu")

    def _sigmoid(self, layer: Layer) -> Expression:
        return self._activate(self._input(layer), "sigmoid")

    def _leaky_relu(self, layer: Layer) -> Expression:
        channels = self._layers.channels[layer.output]
        slopes = np.full(channels, layer.slope, np.float32)
        return self._activate(self._input(layer), "slope", slopes)

    def _prelu(self, layer: Layer) -> Expression:
        return self._activate(self._input(layer), "slope", layer.weight)

    def _activate(
        self, expression: Expression, activation: str, slopes: Floats | None = None
    ) -> Expression:
        waiting = self._waiting_whole(expression)
        if waiting and waiting.activation == "none" and activation in ("relu", "slope"):
            waiting.activation, waiting.slopes = activation, slopes
            return expression
        return self._store(expression, activation, slopes)

    def _add(self, layer: Layer) -> Expression:
        left, right = self._input(layer), self._input(layer, 1)
        if _most_terms(left) + _most_terms(right) > MAX_TERMS:
            left = self._store(left) if _most_terms(left) > 1 else left
            right = self._store(right) if _most_terms(right) > 1 else right
        return tuple(
            Piece(a.count, a.terms + b.terms, _sum(a.bias, b.bias)) for a, b in _side_by_side(left, right)
        )

    def _mul(self, layer: Layer) -> Expression:
        if layer.weight is None:
            factors = [self._plain(self._input(layer, i)) for i in range(2)]
            channels = self._layers.channels[layer.output]
            value = self._writer.new_map(channels)
            self._writer.operation(PRODUCT, value, 0, channels, factors)
            return (Piece(channels, (View(value),)),)
        start, pieces = 0, []
        for piece in self._input(layer):
            factor = layer.weight[start : start + piece.count]
            start += piece.count
            pieces.append(_scaled(piece, factor))
        return tuple(pieces)

    def _concat(self, layer: Layer) -> Expression:
        return tuple(piece for value in layer.inputs for piece in self._values[value])

    def _slice(self, layer: Layer) -> Expression:
        return _cut(self._input(layer), layer.start, layer.count)

    def _pixel_shuffle(self, layer: Layer) -> Expression:
        expression, block = self._input(layer), layer.block
        channels = self._layers.channels[layer.output]
        waiting = self._waiting_whole(expression)
        if waiting and layer.order == "CRD":
            groups = waiting.groups if channels % waiting.groups == 0 else 1
            if groups == 1 and waiting.groups > 1:
                waiting.weight = _dense(waiting.weight, waiting.groups)
                waiting.groups = 1
            each = channels // groups
            old = np.arange(waiting.outputs).reshape(groups, each, block**2)
            waiting.reorder(old.swapaxes(1, 2).ravel())
            value = expression[0].terms[0].value
            return tuple(
                Piece(each, (View(value, g * each * block**2, up=block, phases=each),))
                for g in range(groups)
            )
        view = self._plain(expression)
        if layer.order == "DCR":
            return (Piece(channels, (replace(view, up=block, phases=channels),)),)
        return (Piece(channels, (replace(view, up=block, interleaved=True),)),)

    def _pixel_unshuffle(self, layer: Layer) -> Expression:
        expression, block = self._input(layer), layer.block
        if expression is self._values[0]:
            view = self._read_degraded(block, layer.order)
            return (Piece(3 * block**2, (view,)),)
        view, channels = self._plain(expression), self._layers.channels[layer.inputs[0]]
        phases = [replace(view, down=block, top=i, left=j) for i in range(block) for j in range(block)]
        if layer.order == "DCR":
            return tuple(Piece(channels, (phase,)) for phase in phases)
        return tuple(Piece(1, (phase.cut(c, 1),)) for c in range(channels) for phase in phases)

    def _upsample_nearest(self, layer: Layer) -> Expression:
        view, channels = self._plain(self._input(layer)), self._layers.channels[layer.output]
        return (Piece(channels, (replace(view, up=layer.block),)),)

    def _mix(self, layer: Layer) -> Expression | None:
        """Return a 1x1 convolution that joins equal channels of two to four parts as their sums.

        Such are cross-stitch units; as convolutions they would multiply zeros.
        """
        weight = layer.weight
        assert weight is not None
        if weight.shape[2:] != (1, 1) or layer.groups > 1 or layer.stride > 1:
            return None
        for parts in (2, 3, 4):
            outputs, inputs = weight.shape[:2]
            if outputs % parts or inputs % parts or outputs != inputs or outputs == parts:
                continue
            each = outputs // parts
            cells = weight.reshape(parts, each, parts, each).transpose(0, 2, 1, 3)
            factors = np.diagonal(cells, axis1=2, axis2=3)  # (parts, parts, each)
            if np.count_nonzero(cells) != np.count_nonzero(factors):
                continue
            source = self._plain(self._input(layer))
            bias = layer.bias
            return tuple(
                Piece(
                    each,
                    tuple(replace(source.cut(j * each, each), weight=factors[i, j]) for j in range(parts)),
                    None if bias is None else bias[i * each : (i + 1) * each],
                )
                for i in range(parts)
            )
        return None

    # Values.

    def _wait(self, convolution: _Convolution) -> Expression:
        value = self._writer.new_map(convolution.outputs)
        self._waiting[value] = convolution
        return (Piece(convolution.outputs, (View(value),)),)

    def _waiting_whole(self, expression: Expression) -> _Convolution | None:
        """Return the convolution that a value is and nothing else, if it still waits."""
        if len(expression) > 1 or len(expression[0].terms) > 1 or expression[0].bias is not None:
            return None
        (term,) = expression[0].terms
        waiting = self._waiting.get(term.value)
        whole = waiting and term.plain and expression[0].count == waiting.outputs
        return waiting if whole else None

    def _readable(self, expression: Expression) -> bool:
        """Whether a value may be read more than once without computing anything twice."""
        return all(
            len(piece.terms) == 1
            and piece.bias is None
            and piece.terms[0].weight is None
            and piece.terms[0].value not in self._waiting
            for piece in expression
        )

    def _plain(self, expression: Expression) -> View:
        """Return a value as channels of one map, which it is written to if need be."""
        if len(expression) == 1 and self._readable(expression) and expression[0].terms[0].plain:
            (term,) = expression[0].terms
            return self._resolve(term, expression[0].count)
        return self._store(expression)[0].terms[0]

    def _read_degraded(self, factor: int, order: str) -> View:
        if (factor, order) not in self._degraded:
            value = self._writer.new_map(3 * factor**2)
            self._degraded[factor, order] = View(value)
            last = int(order == "CRD")
            self._writer.operation(
                INPUT, value, 0, 3 * factor**2, factor=factor, depth_last=last
            )
        return self._degraded[factor, order]

    def _store(
        self, expression: Expression, activation: str = "none", slopes: Floats | None = None
    ) -> Expression:
        """Write a value to a map of its own."""
        channels = sum(piece.count for piece in expression)
        pieces = [(piece, [self._resolve(term, piece.count) for term in piece.terms]) for piece in expression]
        value, start = self._writer.new_map(channels), 0
        for piece, terms in pieces:
            own = None if slopes is None else slopes[start : start + piece.count]
            self._write(value, start, piece, terms, activation, own)
            start += piece.count
        return (Piece(channels, (View(value),)),)

    def _resolve(self, term: View, count: int) -> View:
        """Return a term that a combination can read."""
        if term.value == DEGRADED:
            view = self._read_degraded(1, "CRD")
            return replace(term, value=view.value)
        if not term.interleaved:
            return term
        self._emit_waiting(term.value)
        area = term.up**2
        order = np.arange(count * area).reshape(count, area).T.ravel()
        weight = np.eye(count * area, dtype=np.float32)[order][:, :, None, None]
        source = View(term.value, term.channel)
        value = self._writer.new_map(count * area)
        self._emit(_Convolution(source, weight, None, 1, 0, 1), value, 0)
        return View(value, up=term.up, phases=count, weight=term.weight)

    def _write(
        self, value: int, start: int, piece: Piece, terms: list[View], activation: str,
        slopes: Floats | None,
    ) -> None:  # fmt: skip
        """Write one piece from channel `start` of a map on, with an activation behind it."""
        for term in terms:
            if self._write_convolution(value, start, piece, term, terms, activation, slopes):
                return
        for term in terms:
            self._emit_waiting(term.value)
        self._writer.operation(
            COMBINATION, value, start, piece.count, terms,
            activation=ACTIVATIONS[activation],
            bias=self._writer.numbers(piece.bias), slopes=self._writer.numbers(slopes),
        )  # fmt: skip

    def _write_convolution(
        self, value: int, start: int, piece: Piece, term: View, terms: list[View],
        activation: str, slopes: Floats | None,
    ) -> bool:  # fmt: skip
        """Write a piece as a convolution with a residual, where it is one; return whether."""
        others = [other for other in terms if other is not term]
        waiting = self._waiting_whole((Piece(piece.count, (term,), piece.bias),))
        if waiting is None or len(others) > 1 or activation in ("gelu", "sigmoid"):
            return False
        if not all(other.plain for other in others):
            return False
        if waiting.activation != "none" and activation != "none":
            return False
        for other in others:
            self._emit_waiting(other.value)
        del self._waiting[term.value]
        add_first = waiting.activation == "none"
        if add_first:
            waiting.activation, waiting.slopes = activation, slopes
        self._emit(waiting, value, start, others, add_first)
        self._writer.maps[term.value] = 1  # nobody's map now
        return True

    def _emit_waiting(self, value: int) -> None:
        waiting = self._waiting.pop(value, None)
        if waiting:
            self._emit(waiting, value, 0)

    def _emit(
        self, convolution: _Convolution, value: int, start: int, residual: Iterable[View] = (),
        add_first: bool = False,
    ) -> None:  # fmt: skip
        weight, number = convolution.weight, self._writer.numbers
        self._writer.operation(
            CONVOLUTION, value, start, convolution.outputs, [convolution.source, *residual],
            inputs=weight.shape[1] * convolution.groups, kernel=weight.shape[2],
            stride=convolution.stride, pad=convolution.pad, groups=convolution.groups,
            activation=ACTIVATIONS[convolution.activation], add_first=int(add_first),
            weights=number(weight), bias=number(convolution.bias),
            slopes=number(convolution.slopes),
        )  # fmt: skip

    def _return(self, index: int, expression: Expression) -> None:
        """Write one of the images that the network returns."""
        terms = expression[0].terms if len(expression) == 1 and expression[0].bias is None else ()
        own = [term for term in terms if term.value != DEGRADED or term.weight is not None]
        shuffled = len(own) == 1 and own[0].weight is None and own[0].down == 1
        shuffled = shuffled and own[0].value != DEGRADED
        if shuffled and own[0].up > 1:
            shuffled = own[0].interleaved or own[0].phases == 3
        if not shuffled or len(terms) - len(own) > 1:
            own, terms = [self._store(expression)[0].terms[0]], ()
        self._emit_waiting(own[0].value)
        view, factor = View(own[0].value, own[0].channel), own[0].up
        self._writer.operation(
            OUTPUT, -1, 0, 3 * factor**2, [view],
            factor=factor, depth_last=int(own[0].interleaved), picture=index,
            add_degraded=int(len(terms) > 1),
        )  # fmt: skip


def _most_terms(expression: Expression) -> int:
    return max(len(piece.terms) for piece in expression)


def _scaled(piece: Piece, factor: Floats) -> Piece:
    terms = tuple(
        replace(term, weight=factor if term.weight is None else term.weight * factor)
        for term in piece.terms
    )
    return Piece(piece.count, terms, None if piece.bias is None else piece.bias * factor)


def _sum(a: Floats | None, b: Floats | None) -> Floats | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b


def _cut(expression: Expression, start: int, count: int) -> Expression:
    """Return some channels of a value."""
    pieces, at = [], 0
    for piece in expression:
        first, last = max(start, at), min(start + count, at + piece.count)
        if first < last:
            pieces.append(piece.cut(first - at, last - first))
        at += piece.count
    return tuple(pieces)


def _side_by_side(left: Expression, right: Expression) -> Iterator[tuple[Piece, Piece]]:
    """Yield the pieces of two values, cut at the borders of both."""
    borders = {0}
    for expression in (left, right):
        borders.update(np.cumsum([piece.count for piece in expression]).tolist())
    edges = sorted(borders)
    for start, end in zip(edges, edges[1:], strict=False):
        (a,), (b,) = _cut(left, start, end - start), _cut(right, start, end - start)
        yield a, b


def _dense(weight: Floats, groups: int) -> Floats:
    """Return the weights of a convolution in groups as those of one without."""
    outputs, each, *kernel = weight.shape
    dense = np.zeros((outputs, each * groups, *kernel), np.float32)
    own = outputs // groups
    for g in range(groups):
        dense[g * own : (g + 1) * own, g * each : (g + 1) * each] = weight[g * own : (g + 1) * own]
    return dense


def _merge_groups(weight: Floats, groups: int) -> tuple[Floats, int]:
    """Return weights and groups with at least `MIN_GROUP_CHANNELS` outputs each, if there are."""
    own = len(weight) // groups
    if groups == 1 or own >= MIN_GROUP_CHANNELS:
        return weight, groups
    together = next(
        n for n in range(1, groups + 1)
        if groups % n == 0 and (own * n >= MIN_GROUP_CHANNELS or n == groups)
    )  # fmt: skip
    parts = np.split(weight, groups // together)
    return np.concatenate([_dense(part, together) for part in parts]), groups // together


def _transposed_taps(kernel: int) -> list[tuple[int, int, int]]:
    """Return (pixel of the block, tap of the convolution, tap of the transposed one)."""
    if kernel == 2:
        return [(0, 0, 0), (1, 0, 1)]
    return [(0, 0, 3), (0, 1, 1), (1, 1, 2), (1, 2, 0)]
