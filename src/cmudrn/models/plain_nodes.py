"""Nodes around the network of a plain file, so that a host needs to know nothing of it.

A host gives any size and expects the same size in [0, 1]. So the file pads the right and bottom
edges to what the network needs, crops the result, and clips it. `cmudrn.restoration` does all
three itself; when this program reads a plain file, it takes the network without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.onnx_file import Graph, Node

PADDED = "plain.padded"
"""What the network reads instead of the input, where the input is padded."""

_PAD = (
    ("Shape", ("degraded",), "plain.shape"),
    ("Slice", ("plain.shape", "plain.two", "plain.four", "plain.first"), "plain.sides"),
    ("Add", ("plain.sides", "plain.spare"), "plain.over"),
    ("Div", ("plain.over", "plain.step"), "plain.steps"),
    ("Mul", ("plain.steps", "plain.step"), "plain.whole"),
    ("Sub", ("plain.whole", "plain.sides"), "plain.missing"),
    ("Concat", ("plain.before", "plain.missing"), "plain.pads"),
    ("Pad", ("degraded", "plain.pads"), PADDED),
)
_CROP = ("plain.origin", "plain.sides", "plain.axes")
_CLIP = ("plain.black", "plain.white")

Entry = tuple[str, tuple[str, ...], str]
"""Operator, inputs, output of a node."""


def pad_nodes() -> tuple[Entry, ...]:
    """Return the nodes before a network whose sides are multiples of more than 1."""
    return _PAD


def end_nodes(value: str, padded: bool) -> tuple[Entry, ...]:
    """Return the nodes after a network.

    Args:
        value: the network's result.
        padded: whether `pad_nodes` precede the network.
    """
    if not padded:
        return (("Clip", (value, *_CLIP), "restored"),)
    return (
        ("Slice", (value, *_CROP), "plain.cropped"),
        ("Clip", ("plain.cropped", *_CLIP), "restored"),
    )


def constants(alignment: int) -> Mapping[str, NDArray[np.int64 | np.float32]]:
    """Return the tensors that the nodes read, by name.

    Args:
        alignment: what the sides of the network's input are multiples of.
    """
    numbers = {"two": [2], "four": [4], "first": [0], "spare": [alignment - 1]}
    numbers |= {"step": [alignment], "before": [0] * 6, "origin": [0, 0], "axes": [2, 3]}
    found: dict[str, NDArray[np.int64 | np.float32]] = {
        f"plain.{name}": np.array(values, np.int64)
        for name, values in numbers.items()
        if alignment > 1
    }
    return found | {
        "plain.black": np.array(0, np.float32),
        "plain.white": np.array(1, np.float32),
    }


def without_plain_nodes(graph: Graph) -> Graph:
    """Return a graph without the nodes of a plain file; any other graph comes back as it is."""
    entries = [(node.operator, node.inputs, "".join(node.outputs)) for node in graph.nodes]
    padded = tuple(entries[: len(_PAD)]) == _PAD
    last = entries[-2:] if padded else entries[-1:]
    if not last or not last[0][1] or tuple(last) != end_nodes(last[0][1][0], padded):
        return graph
    step = graph.initializers.get("plain.step")
    alignment = int(step.array.flat[0]) if step and step.array is not None and padded else 1
    for name, array in constants(alignment).items():
        held = graph.initializers.get(name)
        if held is None or held.array is None or not np.array_equal(held.array, array):
            return graph
    start = len(_PAD) if padded else 0
    nodes = graph.nodes[start : -len(last)]
    first = (_same("degraded", PADDED),) if padded else ()
    return replace(graph, nodes=(*first, *nodes, _same(last[0][1][0], "restored")))


def _same(source: str, target: str) -> Node:
    return Node("Identity", (source,), (target,), {}, {}, {})
