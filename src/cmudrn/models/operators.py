"""What each ONNX operator means as layers; constants are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.layers import MAX_LAYERS, Floats, Layer, NetworkError, ValueShape, infer_shape
from cmudrn.models.onnx_file import Node

Constant = NDArray[Any]
"""float32 or int64."""

MAX_STEPS = 4_000_000
"""Values of all nodes of an unrolled network; the deepest of this project's has a third."""


@dataclass(frozen=True)
class Map:
    """A value that depends on the image, by its number in the list of layers."""

    number: int


Traced = Map | Constant
"""What a name in the graph stands for while the graph is walked."""


class LayerWriter:
    """Collects layers.

    Attributes:
        layers: so far.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._shapes = [ValueShape(3)]
        # Constants computed in a loop are kept, so that every round shares one array. The inputs
        # are kept with them: an identity is only unique while its object lives.
        self._constants: dict[tuple[Any, ...], tuple[Any, list[Traced]]] = {}
        self._numbers: dict[int, Constant] = {}
        self._finite: dict[int, Constant] = {}
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Count work that is done; loops of loops of nodes without layers end here.

        Raises:
            NetworkError: it is too much.
        """
        self._left -= steps
        if self._left < 0:
            raise NetworkError("its loops have too many nodes")

    def apply(self, node: Node, inputs: list[Traced | None]) -> list[Traced]:
        """Return the outputs of one node.

        Raises:
            NetworkError: its operator or its numbers are none that layers have.
        """
        if not any(isinstance(value, Map) for value in inputs):
            key = (id(node), *map(id, inputs))
            if key not in self._constants:
                self._constants[key] = ((node, inputs), [_computed(node, inputs)])
            return self._constants[key][1]
        if node.operator not in _HANDLERS:
            raise NetworkError(f"it has the operator {node.operator}")
        return _HANDLERS[node.operator](self, node, inputs)

    def number(self, value: int) -> Constant:
        """Return a whole number as a constant, the same object each time."""
        return self._numbers.setdefault(value, np.array(value, np.int64))

    def add(self, operator: str, *inputs: Map, **settings: Any) -> Map:
        """Append a layer and return what it makes."""
        if len(self.layers) >= MAX_LAYERS:
            raise NetworkError(f"it has more than {MAX_LAYERS} layers")
        numbers = tuple(value.number for value in inputs)
        layer = Layer(operator, numbers, len(self._shapes), **settings)
        self._shapes.append(infer_shape(layer, [self._shapes[number] for number in numbers]))
        self.layers.append(layer)
        return Map(layer.output)

    def channels(self, value: Map) -> int:
        """Return how many channels a value has."""
        return self._shapes[value.number].channels

    def weights(self, node: Node, value: Traced | None) -> Floats | None:
        """Return an input that holds weights, or None where it is left out.

        Raises:
            NetworkError: it is computed from the image, or holds no finite float32.
        """
        if value is None or id(value) in self._finite:
            return value  # type: ignore[return-value]
        if isinstance(value, Map) or value.dtype != np.float32 or not np.isfinite(value).all():
            raise NetworkError(f"a node {node.operator} has weights that are no numbers")
        self._finite[id(value)] = value
        return value

    def per_channel(self, constant: Constant, value: Map) -> Floats:
        """Return a constant that multiplies a map as (C,), the same object each time.

        Raises:
            NetworkError: it is neither one number nor one for each channel.
        """
        channels = self.channels(value)
        key = ("per channel", id(constant), channels)
        if key not in self._constants:
            fits = constant.size == 1 or (
                constant.size == channels and constant.shape[-3:] == (channels, 1, 1)
            )
            if not fits or constant.ndim > 4 or constant.dtype != np.float32:
                raise NetworkError(f"it multiplies a map by numbers of shape {constant.shape}")
            spread = np.array(np.broadcast_to(constant.ravel(), channels), np.float32)
            self._constants[key] = (constant, [spread])
        return self._constants[key][1][0]  # type: ignore[return-value]


Handler = Callable[[LayerWriter, Node, Sequence[Traced | None]], list[Traced]]


def _computed(node: Node, inputs: Sequence[Traced | None]) -> Constant:
    """Return what a node makes of constants."""
    first, *others = inputs or [None]
    match node.operator, first, others:
        case "Constant", None, []:
            tensor = node.tensors.get("value")
            if tensor is not None and tensor.array is not None:
                return tensor.array
            number = node.attributes.get("value_float", node.attributes.get("value_int"))
            if isinstance(number, int | float):
                return np.array(number, np.float32 if isinstance(number, float) else np.int64)
        case "Identity", np.ndarray(), []:
            return first
        case "Gather", np.ndarray(), [np.ndarray() as index] if index.size == 1:
            axis, at = integer(node, "axis", 0), int(index.item())
            if -first.ndim <= axis < first.ndim and -first.shape[axis] <= at < first.shape[axis]:
                taken: Constant = np.take(first, at, axis=axis)
                return taken if index.ndim == 0 else np.expand_dims(taken, axis)
        case (("Unsqueeze" | "Squeeze" | "Reshape"), np.ndarray(), [np.ndarray() as sides]):
            return _reshaped(node.operator, first, [int(side) for side in sides.ravel()[:8]])
    raise NetworkError(f"it has the operator {node.operator} on constants")


def _reshaped(operator: str, array: Constant, sides: list[int]) -> Constant:
    try:
        if operator == "Reshape":
            return array.reshape(sides)
        if operator == "Squeeze":
            return np.squeeze(array, tuple(sides))
        return np.expand_dims(array, tuple(sides))
    except ValueError as error:
        raise NetworkError(f"it has an operator {operator} that does not fit") from error


def integer(node: Node, name: str, default: int) -> int:
    """Return an attribute that is a whole number.

    Raises:
        NetworkError: it is another thing.
    """
    value = node.attributes.get(name, default)
    if value == ():
        return default
    if not isinstance(value, int):
        raise NetworkError(f"a node {node.operator} has no whole number for {name}")
    return value


def integers(node: Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an attribute that is a list of whole numbers.

    Raises:
        NetworkError: it is another thing.
    """
    value = node.attributes.get(name) or default
    if not isinstance(value, tuple) or not all(isinstance(number, int) for number in value):
        raise NetworkError(f"a node {node.operator} has no whole numbers for {name}")
    return value  # type: ignore[return-value]


def _image(node: Node, value: Traced | None) -> Map:
    if not isinstance(value, Map):
        raise NetworkError(f"a node {node.operator} lacks its map")
    return value


def _simple(operator: str) -> Handler:
    def handle(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
        return [writer.add(operator, _image(node, inputs[0]))]

    return handle


def _conv(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    transposed = node.operator == "ConvTranspose"
    image, weight, bias = (*inputs, None, None)[:3]
    weights = writer.weights(node, weight)
    kernel = weights.shape[2:] if weights is not None else ()
    pads, strides = integers(node, "pads", (0,) * 4), integers(node, "strides", (1, 1))
    automatic = node.attributes.get("auto_pad", "NOTSET")
    plain = (
        integers(node, "dilations", (1, 1)) == (1, 1)
        and integers(node, "output_padding", (0, 0)) == (0, 0)
        and not node.attributes.get("output_shape")
        and integers(node, "kernel_shape", kernel) == kernel
        and automatic in ("NOTSET", "", ())
        and len(inputs) <= 3
        and len(pads) == 4
        and len(set(pads)) == 1
        and len(strides) == 2
        and len(set(strides)) == 1
    )
    if not plain:
        raise NetworkError(f"it has an operator {node.operator} that is not a plain one")
    return [
        writer.add(
            "conv_transpose" if transposed else "conv",
            _image(node, image),
            weight=weights,
            bias=writer.weights(node, bias),
            stride=strides[0],
            groups=integer(node, "group", 1),
            pad=pads[0],
        )
    ]


def _leaky(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    slope = node.attributes.get("alpha", 0.01)
    if not isinstance(slope, float) or not np.isfinite(slope):
        raise NetworkError("a node LeakyRelu has no slope")
    return [writer.add("leaky_relu", _image(node, inputs[0]), slope=slope)]


def _prelu(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    image = _image(node, inputs[0])
    slopes = writer.weights(node, inputs[1] if len(inputs) == 2 else None)
    if slopes is None:
        raise NetworkError("a node PRelu has no slopes")
    return [writer.add("prelu", image, weight=writer.per_channel(slopes, image))]


def _gelu(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    if node.attributes.get("approximate", "none") != "none":
        raise NetworkError("a node Gelu is not the exact one")
    return [writer.add("gelu", _image(node, inputs[0]))]


def _sum(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    total, *others = (_image(node, value) for value in inputs)
    for other in others:
        total = writer.add("add", total, other)
    if node.operator == "Mean" and others:
        share = writer.apply(_reciprocal(len(inputs)), [])[0]
        assert not isinstance(share, Map)
        total = writer.add("mul", total, weight=writer.per_channel(share, total))
    return [total]


def _mul(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    if len(inputs) != 2:
        raise NetworkError(f"a node Mul has {len(inputs)} inputs")
    constants = [value for value in inputs if not isinstance(value, Map)]
    images = [value for value in inputs if isinstance(value, Map)]
    if not constants:
        return [writer.add("mul", *images)]
    factors = writer.weights(node, constants[0])
    if factors is None:
        raise NetworkError("a node Mul lacks a factor")
    return [writer.add("mul", images[0], weight=writer.per_channel(factors, images[0]))]


def _concat(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    images = [_image(node, value) for value in inputs]
    if integer(node, "axis", 1) not in (1, -3):
        raise NetworkError("it joins maps along another axis than channels")
    return [writer.add("concat", *images) if len(images) > 1 else images[0]]


def _split(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    image, parts = _image(node, inputs[0]), len(node.outputs)
    channels = writer.channels(image)
    sizes = inputs[1] if len(inputs) > 1 else None
    if integer(node, "axis", 0) not in (1, -3) or not parts:
        raise NetworkError("it splits a map along another axis than channels")
    if isinstance(sizes, np.ndarray) and sizes.dtype == np.int64:
        counts = [int(size) for size in sizes.ravel()[: parts + 1]]
    elif sizes is None and channels % parts == 0:
        counts = list(integers(node, "split", (channels // parts,) * parts))
    else:
        counts = []
    if len(counts) != parts or sum(counts) != channels:
        raise NetworkError(f"it splits {channels} channels in a way that does not fit")
    starts = [sum(counts[:part]) for part in range(parts)]
    return [
        writer.add("slice", image, start=start, count=count)
        for start, count in zip(starts, counts, strict=True)
    ]


def _slice(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    image, *bounds = inputs
    numbers = [
        int(bound.item())
        if isinstance(bound, np.ndarray) and bound.size == 1 and bound.dtype == np.int64
        else None
        for bound in bounds
    ]
    if len(numbers) == 3:
        numbers.append(1)
    channels = writer.channels(_image(node, image))
    match numbers:
        case [int(start), int(stop), 1 | -3, 1]:
            first, last, _ = slice(start, stop).indices(channels)
            return [writer.add("slice", _image(node, image), start=first, count=last - first)]
    raise NetworkError("it has an operator Slice that does not take channels")


def _depth(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    image, block = _image(node, inputs[0]), integer(node, "blocksize", 0)
    if node.operator == "SpaceToDepth":
        return [writer.add("pixel_unshuffle", image, block=block)]
    order = node.attributes.get("mode", "DCR")
    return [writer.add("pixel_shuffle", image, block=block, order=order)]


def _resize(writer: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    scales = inputs[2] if len(inputs) == 3 else None
    attribute = node.attributes.get
    where = attribute("coordinate_transformation_mode", "half_pixel")
    rounding = attribute("nearest_mode", "round_prefer_floor")
    # Doubling asks for no pixel halfway between two, so that either way of rounding is the same.
    plain = (where == "asymmetric" and rounding == "floor") or (
        where == "half_pixel" and str(rounding).startswith("round")
    )
    doubled = isinstance(scales, np.ndarray) and scales.tolist() == [1, 1, 2, 2]
    if not (plain and doubled and attribute("mode", "nearest") == "nearest"):
        raise NetworkError("it has an operator Resize that does not double a map")
    return [writer.add("upsample_nearest", _image(node, inputs[0]), block=2)]


def _same(_: LayerWriter, node: Node, inputs: Sequence[Traced | None]) -> list[Traced]:
    return [_image(node, inputs[0])]


_SHARES = {
    count: Node("Constant", (), ("",), {"value_float": 1 / count}, {}, {}) for count in range(2, 65)
}


def _reciprocal(count: int) -> Node:
    """Return the node of the constant 1 / count, the same object each time."""
    if count not in _SHARES:
        raise NetworkError(f"it has a mean of {count} maps")
    return _SHARES[count]


_HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv,
    "Relu": _simple("relu"),
    "Sigmoid": _simple("sigmoid"),
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Gelu": _gelu,
    "Add": _sum,
    "Sum": _sum,
    "Mean": _sum,
    "Mul": _mul,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "DepthToSpace": _depth,
    "SpaceToDepth": _depth,
    "Resize": _resize,
    "Identity": _same,
}

OPERATOR_NAMES = frozenset(_HANDLERS) | {
    "Loop",
    "Constant",
    "Gather",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
}
"""The ONNX operators that a model file of this project may hold."""
