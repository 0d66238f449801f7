"""From the graph of an ONNX file to a list of layers, at a chosen depth.

The graph is walked once, as a runtime would: constants are computed, loops are run as often as
the file or the depth says, and each operator on an image appends a layer.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cmudrn.models.layers import LayerList, NetworkError
from cmudrn.models.onnx_file import FLOAT, Graph, GraphInput, Node
from cmudrn.models.operators import LayerWriter, Map, Traced

DEPTH_INPUTS = ("stages", "recursions")
"""Inputs of a graph that say how often its loops run."""
MAX_DEPTH = 64
"""Stages, recursions, and rounds of any loop."""


@dataclass(frozen=True, eq=False)
class NetworkGraph:
    """The network of one model file.

    Attributes:
        graph: of the file.
    """

    graph: Graph

    @property
    def adjustable(self) -> bool:
        """Whether stages and recursions are inputs of the graph."""
        return {entry.name for entry in self.graph.inputs} >= set(DEPTH_INPUTS)

    @property
    def image_inputs(self) -> tuple[GraphInput, ...]:
        """The inputs that are not numbers of loops."""
        return tuple(entry for entry in self.graph.inputs if entry.name not in DEPTH_INPUTS)

    def unroll(self, stages: int, recursions: int) -> LayerList:
        """Return the layers at a depth; a graph without loops is the same at every depth.

        Every output of the graph is one of the list.

        Args:
            stages: T, 1 to 64.
            recursions: S, likewise.

        Raises:
            NetworkError: the graph holds other operators than `cmudrn.models.layers` knows, or
                is malformed.
        """
        depth = (stages, recursions) if self.adjustable else (1, 1)
        return _unroll(self, *depth)

    def __reduce__(self) -> tuple[type[NetworkGraph], tuple[Graph]]:
        return NetworkGraph, (self.graph,)


@lru_cache(maxsize=64)
def _unroll(network: NetworkGraph, stages: int, recursions: int) -> LayerList:
    if not all(1 <= number <= MAX_DEPTH for number in (stages, recursions)):
        raise NetworkError(f"its depth is {stages} and {recursions}, not 1 to {MAX_DEPTH}")
    images = network.image_inputs
    if len(images) != 1 or not is_image(images[0]):
        raise NetworkError("it has no single input of shape (N, 3, H, W), float32")
    writer = LayerWriter()
    values: MutableMapping[str, Traced] = {images[0].name: Map(0)}
    if network.adjustable:
        values.update(zip(DEPTH_INPUTS, map(writer.number, (stages, recursions)), strict=True))
    found = _trace(network.graph, values, writer)
    outputs: dict[str, int] = {}
    for name, value in zip(network.graph.outputs, found, strict=True):
        if not isinstance(value, Map):
            raise NetworkError(f"its output {name} does not depend on the image")
        outputs[name] = value.number
    return LayerList(tuple(writer.layers), outputs).restricted(outputs)


def is_image(entry: GraphInput) -> bool:
    """Return whether an input takes (N, 3, H, W) float32; a free number of channels will do."""
    four = entry.shape is not None and len(entry.shape) == 4
    return entry.data_type == FLOAT and four and entry.shape[1] in (3, None)  # type: ignore[index]


def _trace(graph: Graph, values: MutableMapping[str, Traced], writer: LayerWriter) -> list[Traced]:
    """Return the values of a graph's outputs; `values` holds its inputs and what it may read."""
    writer.spend(len(graph.initializers))
    for name, tensor in graph.initializers.items():
        if tensor.array is not None:
            values[name] = tensor.array
    for node in graph.nodes:
        writer.spend(1 + len(node.inputs) + len(node.outputs))
        inputs = [_value(values, name) for name in node.inputs]
        if node.operator == "Loop":
            results = _loop(node, inputs, values, writer)
        else:
            results = writer.apply(node, inputs)
        if len(results) != len(node.outputs):
            raise NetworkError(f"a node {node.operator} has {len(node.outputs)} outputs")
        values.update(zip(node.outputs, results, strict=True))
    return [_needed(_value(values, name), name) for name in graph.outputs]


def _value(values: MutableMapping[str, Traced], name: str) -> Traced | None:
    if name and name not in values:
        raise NetworkError(f"it reads {name!r}, which nothing makes")
    return values[name] if name else None


def _needed(value: Traced | None, name: str) -> Traced:
    if value is None:
        raise NetworkError(f"it lacks the value {name!r}")
    return value


def _loop(
    node: Node,
    inputs: list[Traced | None],
    outer: MutableMapping[str, Traced],
    writer: LayerWriter,
) -> list[Traced]:
    """Return what a Loop carries out; it runs as often as its first input says."""
    body = node.graphs.get("body")
    rounds = _rounds(inputs[0]) if inputs else None
    if body is None or rounds is None or len(inputs) < 3:
        raise NetworkError("it has a loop without a number of rounds")
    go_on = inputs[1]
    if go_on is not None and not (
        isinstance(go_on, np.ndarray) and go_on.size == 1 and go_on.all()
    ):
        raise NetworkError("it has a loop that may end early")
    carried = [_needed(value, "of a loop") for value in inputs[2:]]
    if len(body.inputs) != len(carried) + 2 or len(body.outputs) != len(carried) + 1:
        raise NetworkError("it has a loop whose body does not fit")
    names = [entry.name for entry in body.inputs]
    true = writer.number(1)
    for turn in range(rounds):
        writer.spend(1 + len(names))
        start = dict(zip(names, [writer.number(turn), true, *carried], strict=True))
        condition, *carried = _trace(body, ChainMap(start, outer), writer)
        if condition is not true:
            raise NetworkError("it has a loop that may end early")
    return carried


def _rounds(value: Traced | None) -> int | None:
    """Return how often a loop runs, or None where its input does not say."""
    if not isinstance(value, np.ndarray) or value.dtype != np.int64 or value.size != 1:
        return None
    rounds = int(value.item())
    if not 1 <= rounds <= MAX_DEPTH:
        raise NetworkError(f"it has a loop of {rounds} rounds, not 1 to {MAX_DEPTH}")
    return rounds
