"""What a model file of another project costs: its weights, and its multiply-adds for a pixel.

The file is run once on a small image, in a process of its own. The shapes of the values around its
convolutions and matrix products are an output of that run, so that any operators may lie between
them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from cmudrn.engines.confined import ConfinedError, ConfinedSession
from cmudrn.evaluation.costs import Cost
from cmudrn.models.model_file import ModelFile, open_model_file
from cmudrn.models.onnx_file import FLOAT, FLOAT16, Node
from cmudrn.models.onnx_writer import SHAPES, with_shapes

SIDES = (64, 256)
"""Sides in pixels of the image that is tried, where the file leaves them free."""

MAX_SECONDS = 60.0
"""That a file may take for such an image."""

_WEIGHT_INPUT = {"Conv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3, "ConvTranspose": 1}
"""Convolution -> which of its inputs holds the weights."""
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm")
_SINGLE_WEIGHTS = ("Conv", "ConvTranspose", "PRelu", "BatchNormalization")
"""Operators that may read a weight tensor of one number."""
_UNCOUNTED = frozenset({"LSTM", "GRU", "RNN", "Einsum", "Attention", "If", "Loop", "Scan"})
"""Operators with multiply-adds that are not counted here."""

Shapes = Mapping[str, Sequence[int]]


def foreign_cost(model: str | os.PathLike[str] | ModelFile) -> Cost:
    """Return what a model file of another project costs; see the module.

    Args:
        model: the file. Its only input is an image, (N, 3, H, W) float32.

    Returns:
        The numbers in its weight tensors, and its multiply-adds for a pixel of the input: those of
        convolutions and matrix products. `macs` is None where the file has operators that are not
        counted, or cannot be run on a small image.

    Raises:
        ModelFileError: the file cannot be read.
    """
    opened = open_model_file(model)
    return Cost(_count_weights(opened), _count_macs(opened))


def _count_weights(model: ModelFile) -> int:
    """Return how many numbers of weights there are; bounds and the like are single numbers."""
    tensors = dict(model.graph.initializers)
    single = set()
    for node in model.graph.all_nodes():
        if node.operator == "Constant" and "value" in node.tensors:
            tensors[node.outputs[0]] = node.tensors["value"]
        if node.operator in _SINGLE_WEIGHTS:
            single |= set(node.inputs[1:])
        if node.operator in _WEIGHT_INPUT:
            single.add(node.inputs[_WEIGHT_INPUT[node.operator]])
    return sum(
        math.prod(tensor.shape)
        for name, tensor in tensors.items()
        if name in single or (tensor.data_type in (FLOAT, FLOAT16) and math.prod(tensor.shape) > 1)
    )


def _count_macs(model: ModelFile) -> int | None:
    nodes = model.graph.all_nodes()
    counted = [node for node in nodes if node.operator in (*_WEIGHT_INPUT, *_PRODUCTS)]
    if any(node.operator in _UNCOUNTED for node in nodes):
        return None
    names = sorted({name for node in counted for name in _needed(node)})
    batch, _, *fixed = model.graph.inputs[0].shape or (1, 3, None, None)
    for side in SIDES:
        height, width = (given or side for given in fixed)
        found = _run(model, names, (batch or 1, 3, height, width))
        if found is not None:
            total = sum(_macs(node, found) for node in counted)
            return round(total / ((batch or 1) * height * width))
    return None


def _needed(node: Node) -> tuple[str, str, str]:
    """Return the values whose shapes tell a node's multiply-adds."""
    weights = node.inputs[_WEIGHT_INPUT.get(node.operator, 1)]
    return node.inputs[0], weights, node.outputs[0]


def _macs(node: Node, shapes: Shapes) -> int:
    taken, weights, made = (shapes[name] for name in _needed(node))
    if node.operator == "ConvTranspose":
        return math.prod(taken) * math.prod(weights[1:])
    if node.operator in _WEIGHT_INPUT:
        return math.prod(made) * math.prod(weights[1:])
    transposed = node.operator == "Gemm" and node.attributes.get("transA", 0)
    return math.prod(made) * taken[0 if transposed else -1]


def _run(model: ModelFile, names: Sequence[str], shape: tuple[int, ...]) -> Shapes | None:
    """Return the shapes of values for an input of a shape, or None where it is not taken."""
    if not names:
        return {}
    image = np.full(shape, 0.5, np.float32)
    try:
        session = ConfinedSession(with_shapes(model.data, names), threads=1, seconds=MAX_SECONDS)
        (numbers,) = session.run([SHAPES], {model.graph.inputs[0].name: image})
    except ConfinedError:
        return None
    ranks, sides = np.split(numbers.astype(int), [len(names)])
    ends = np.cumsum(ranks)[:-1]
    return {name: part.tolist() for name, part in zip(names, np.split(sides, ends), strict=True)}
