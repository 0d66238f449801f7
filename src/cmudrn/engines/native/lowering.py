"""A list of layers as a program of the compiled executor (cpp/program.h).

Layers that only move or weigh numbers (slices, concatenations, sums, factors, changes of
resolution) become no operations of their own where the next one can read their inputs in place: a
value is kept as an `Expression`, a sum of weighted views of maps, until something needs its
numbers in memory. Convolutions wait likewise, so that an activation, a residual or a place in a
concatenation becomes part of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cmudrn.engines.native.expressions import (
    Expression,
    Piece,
    Target,
    View,
    WaitingConvolution,
    add_biases,
    cut,
    most_terms,
    scaled,
    side_by_side,
)
from cmudrn.engines.native.grouped_weights import (
    dense,
    merge_groups,
    mixing_factors,
    transposed_as_convolution,
)
from cmudrn.engines.native.program_writer import (
    ACTIVATIONS,
    COMBINATION,
    CONVOLUTION,
    INPUT,
    MAX_TERMS,
    OUTPUT,
    PRODUCT,
    Program,
    ProgramWriter,
)
from cmudrn.models.layers import Floats, Layer, LayerList

DEGRADED = -1
"""The map that stands for the degraded image."""


def lower(layers: LayerList) -> Program:
    """Return a network as a program.

    Raises:
        TooLongError: it has more layers than a program may.
    """
    return _Lowering(layers).program()


class _Lowering:
    """Turns one network into a program, layer by layer."""

    def __init__(self, layers: LayerList) -> None:
        self._layers, self._writer = layers, ProgramWriter()
        self._uses = Counter(value for layer in layers.layers for value in layer.inputs)
        self._uses.update(layers.outputs.values())
        self._values: dict[int, Expression] = {0: (Piece(3, (View(DEGRADED),)),)}
        self._waiting: dict[int, WaitingConvolution] = {}
        self._degraded: dict[int, View] = {}

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
        weight, groups = merge_groups(layer.weight, layer.groups)
        mixed = self._mix(layer)
        if mixed is not None:
            return mixed
        source = self._plain(self._input(layer))
        return self._wait(
            WaitingConvolution(source, weight, layer.bias, layer.stride, layer.pad, groups)
        )

    def _conv_transpose(self, layer: Layer) -> Expression:
        source, each = self._plain(self._input(layer)), self._layers.channels[layer.output]
        each //= layer.groups
        weight, bias = transposed_as_convolution(layer)
        pad = weight.shape[2] // 2
        (piece,) = self._wait(WaitingConvolution(source, weight, bias, 1, pad, layer.groups))
        value = piece.terms[0].value
        return tuple(
            Piece(each, (View(value, 4 * each * group, up=2, phases=each),))
            for group in range(layer.groups)
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
        if most_terms(left) + most_terms(right) > MAX_TERMS:
            left = self._store(left) if most_terms(left) > 1 else left
            right = self._store(right) if most_terms(right) > 1 else right
        return tuple(
            Piece(a.count, a.terms + b.terms, add_biases(a.bias, b.bias))
            for a, b in side_by_side(left, right)
        )

    def _mul(self, layer: Layer) -> Expression:
        if layer.weight is None:
            factors = [self._plain(self._input(layer, i)) for i in range(2)]
            channels = self._layers.channels[layer.output]
            value = self._writer.new_map(channels)
            self._writer.operation(PRODUCT, (value, 0, channels), factors)
            return (Piece(channels, (View(value),)),)
        start, pieces = 0, []
        for piece in self._input(layer):
            factor = layer.weight[start : start + piece.count]
            start += piece.count
            pieces.append(scaled(piece, factor))
        return tuple(pieces)

    def _concat(self, layer: Layer) -> Expression:
        return tuple(piece for value in layer.inputs for piece in self._values[value])

    def _slice(self, layer: Layer) -> Expression:
        return cut(self._input(layer), layer.start, layer.count)

    def _pixel_shuffle(self, layer: Layer) -> Expression:
        expression, block = self._input(layer), layer.block
        channels = self._layers.channels[layer.output]
        waiting = self._waiting_whole(expression)
        if waiting and layer.order == "CRD":
            groups = waiting.groups if channels % waiting.groups == 0 else 1
            if groups == 1 and waiting.groups > 1:
                waiting.weight = dense(waiting.weight, waiting.groups)
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
            return (Piece(3 * block**2, (self._read_degraded(block),)),)
        view, channels = self._plain(expression), self._layers.channels[layer.inputs[0]]
        return tuple(
            Piece(channels, (replace(view, down=block, top=i, left=j),))
            for i in range(block)
            for j in range(block)
        )

    def _upsample_nearest(self, layer: Layer) -> Expression:
        view, channels = self._plain(self._input(layer)), self._layers.channels[layer.output]
        return (Piece(channels, (replace(view, up=layer.block),)),)

    def _mix(self, layer: Layer) -> Expression | None:
        """Return a 1x1 convolution that joins equal channels of two to four parts as their sums.

        Such are cross-stitch units; as convolutions they would multiply zeros.
        """
        assert layer.weight is not None
        plain = layer.weight.shape[2:] == (1, 1) and layer.groups == layer.stride == 1
        factors = mixing_factors(layer.weight[:, :, 0, 0]) if plain else None
        if factors is None:
            return None
        source = self._plain(self._input(layer))
        parts, _, each = factors.shape
        return tuple(
            Piece(
                each,
                tuple(replace(source.cut(j * each, each), weight=row[j]) for j in range(parts)),
                None if layer.bias is None else layer.bias[i * each : (i + 1) * each],
            )
            for i, row in enumerate(factors)
        )

    # Values.

    def _wait(self, convolution: WaitingConvolution) -> Expression:
        value = self._writer.new_map(convolution.outputs)
        self._waiting[value] = convolution
        return (Piece(convolution.outputs, (View(value),)),)

    def _waiting_whole(self, expression: Expression) -> WaitingConvolution | None:
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

    def _read_degraded(self, factor: int) -> View:
        if factor not in self._degraded:
            value = self._writer.new_map(3 * factor**2)
            self._degraded[factor] = View(value)
            self._writer.operation(INPUT, (value, 0, 3 * factor**2), factor=factor)
        return self._degraded[factor]

    def _store(
        self, expression: Expression, activation: str = "none", slopes: Floats | None = None
    ) -> Expression:
        """Write a value to a map of its own."""
        channels, start = sum(piece.count for piece in expression), 0
        resolved = [
            replace(piece, terms=tuple(self._resolve(term, piece.count) for term in piece.terms))
            for piece in expression
        ]
        value = self._writer.new_map(channels)
        for piece in resolved:
            own = None if slopes is None else slopes[start : start + piece.count]
            self._write(piece, Target(value, start, activation, own))
            start += piece.count
        return (Piece(channels, (View(value),)),)

    def _resolve(self, term: View, count: int) -> View:
        """Return a term that a combination can read."""
        if term.value == DEGRADED:
            view = self._read_degraded(1)
            return replace(term, value=view.value)
        if not term.interleaved:
            return term
        self._emit_waiting(term.value)
        area = term.up**2
        order = np.arange(count * area).reshape(count, area).T.ravel()
        weight = np.eye(count * area, dtype=np.float32)[order][:, :, None, None]
        source = View(term.value, term.channel)
        value = self._writer.new_map(count * area)
        self._emit(WaitingConvolution(source, weight, None, 1, 0, 1), Target(value))
        return View(value, up=term.up, phases=count, weight=term.weight)

    def _write(self, piece: Piece, target: Target) -> None:
        """Write one piece to its place."""
        if any(self._write_convolution(piece, term, target) for term in piece.terms):
            return
        for term in piece.terms:
            self._emit_waiting(term.value)
        self._writer.operation(
            COMBINATION,
            (target.value, target.channel, piece.count),
            piece.terms,
            activation=ACTIVATIONS[target.activation],
            bias=self._writer.numbers(piece.bias),
            slopes=self._writer.numbers(target.slopes),
        )

    def _write_convolution(self, piece: Piece, term: View, target: Target) -> bool:
        """Write a piece as a convolution with a residual, where it is one; return whether."""
        others = [other for other in piece.terms if other is not term]
        waiting = self._waiting_whole((replace(piece, terms=(term,)),))
        if waiting is None or len(others) > 1 or not all(other.plain for other in others):
            return False
        if target.activation in ("gelu", "sigmoid"):
            return False
        if waiting.activation != "none" and target.activation != "none":
            return False
        for other in others:
            self._emit_waiting(other.value)
        del self._waiting[term.value]
        add_first = waiting.activation == "none"
        if add_first:
            waiting.activation, waiting.slopes = target.activation, target.slopes
        self._emit(waiting, target, others, add_first=add_first)
        self._writer.maps[term.value] = 1  # of no operation now
        return True

    def _emit_waiting(self, value: int) -> None:
        waiting = self._waiting.pop(value, None)
        if waiting:
            self._emit(waiting, Target(value))

    def _emit(
        self,
        convolution: WaitingConvolution,
        target: Target,
        residual: Sequence[View] = (),
        *,
        add_first: bool = False,
    ) -> None:
        weight, number = convolution.weight, self._writer.numbers
        self._writer.operation(
            CONVOLUTION,
            (target.value, target.channel, convolution.outputs),
            (convolution.source, *residual),
            inputs=weight.shape[1] * convolution.groups,
            kernel=weight.shape[2],
            stride=convolution.stride,
            pad=convolution.pad,
            groups=convolution.groups,
            activation=ACTIVATIONS[convolution.activation],
            add_first=int(add_first),
            weights=number(weight),
            bias=number(convolution.bias),
            slopes=number(convolution.slopes),
        )

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
            OUTPUT,
            (-1, 0, 3 * factor**2),
            (view,),
            factor=factor,
            depth_last=int(own[0].interleaved),
            picture=index,
            add_degraded=int(len(terms) > 1),
        )
