"""A list of layers as a plain ONNX file: no loops, one input, operators that every runtime has.

What the runtimes of other projects are given is always written here, never the bytes of a file
that somebody else made.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.layers import Layer, LayerList
from cmudrn.models.plain_nodes import PADDED, constants, end_nodes, pad_nodes

INPUT = "degraded"
OPSET = 13
OPSET_WITH_GELU = 20
_IR_VERSION = 8
_FLOAT, _INT64 = 1, 7

_SIMPLE = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "gelu": "Gelu",
    "leaky_relu": "LeakyRelu",
    "prelu": "PRelu",
    "add": "Add",
    "mul": "Mul",
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "concat": "Concat",
    "slice": "Slice",
    "pixel_shuffle": "DepthToSpace",
    "pixel_unshuffle": "SpaceToDepth",
    "upsample_nearest": "Resize",
}


def write_onnx(
    layers: LayerList,
    *,
    record: str = "",
    size: tuple[int, int] | None = None,
    batch: int = 0,
    plain: bool = False,
) -> bytes:
    """Return an ONNX file that runs a network.

    Its input is `degraded`, (N, 3, H, W) float32 RGB in [0, 1]; its outputs have the names of the
    list's, and are not clipped. H and W are multiples of `layers.alignment`.

    Args:
        layers: the network.
        record: JSON that is kept in the file's metadata as "cmudrn"; "" for none.
        size: (H, W) of the input, where it is fixed; None for any.
        batch: N, where it is fixed; 0 for any.
        plain: for other programs: `restored` is the only output and is clipped to [0, 1], and H
            and W are any (the file pads and crops by itself).
    """
    if plain:
        layers = layers.restricted(["restored"])
    return _Writer(layers).file(record, size, batch, plain)


def needed_opset(layers: LayerList) -> int:
    """Return the version of the operator set that the file of a network names."""
    gelu = any(layer.operator == "gelu" for layer in layers.layers)
    return OPSET_WITH_GELU if gelu else OPSET


SHAPES = "cmudrn.shapes"
"""Output of a file by `with_shapes`: the ranks of its values, then the sides of each."""


def with_shapes(data: bytes, values: Sequence[str]) -> bytes:
    """Return a model file with one more output, `SHAPES`, (K,) float32.

    Messages of Protocol Buffers that follow each other are read as one, so that nodes and an output
    are added without a change of what is there.

    Args:
        data: the file.
        values: names of values of its graph.
    """
    sides = [f"cmudrn.sides.{number}" for number in range(len(values))]
    ranks = [f"cmudrn.rank.{number}" for number in range(len(values))]
    nodes = [_node("Shape", [value], name) for value, name in zip(values, sides, strict=True)]
    nodes += [_node("Shape", [name], rank) for name, rank in zip(sides, ranks, strict=True)]
    whole = "cmudrn.numbers"
    nodes.append(_node("Concat", [*ranks, *sides], whole, [_attribute_int("axis", 0)]))
    nodes.append(_node("Cast", [whole], SHAPES, [_attribute_int("to", _FLOAT)]))
    about = _text(1, SHAPES) + _message(2, _message(1, _whole(1, _FLOAT)))
    return data + _message(7, b"".join(_message(1, node) for node in nodes) + _message(12, about))


class _Writer:
    """Writes one file; each array of the network becomes one initializer."""

    def __init__(self, layers: LayerList) -> None:
        self._network = layers
        self._initializers: list[bytes] = []
        self._names: dict[object, str] = {}
        self._input = INPUT

    def file(self, record: str, size: tuple[int, int] | None, batch: int, plain: bool) -> bytes:
        sides: list[int | str] = [batch or "batch", 3, *(size or ("height", "width"))]
        fits = size is not None and not any(side % self._network.alignment for side in size)
        padded = plain and self._network.alignment > 1 and not fits
        if padded:
            self._input = PADDED
        nodes = [self._node(layer) for layer in self._network.layers]
        if plain:
            nodes = self._plain(nodes, padded)
        else:
            nodes += [
                _node("Identity", [self._value(value)], name)
                for name, value in self._network.outputs.items()
            ]
        graph = [_message(1, node) for node in nodes]
        graph.append(_text(2, "cmudrn"))
        graph += [_message(5, tensor) for tensor in self._initializers]
        graph.append(_message(11, _value_info(INPUT, sides)))
        graph += [_message(12, _value_info(name, sides)) for name in self._network.outputs]
        opset = _message(8, _whole(2, needed_opset(self._network)))
        head = _whole(1, _IR_VERSION) + _text(2, "cmudrn") + opset
        entry = _message(14, _text(1, "cmudrn") + _text(2, record)) if record else b""
        return head + _message(7, b"".join(graph)) + entry

    def _plain(self, nodes: list[bytes], padded: bool) -> list[bytes]:
        """Return the nodes with those around them that a plain file has."""
        for name, array in constants(self._network.alignment if padded else 1).items():
            kind = _INT64 if array.dtype == np.int64 else _FLOAT
            content = array.astype(array.dtype.newbyteorder("<")).tobytes()
            self._initializers.append(_tensor(name, kind, array.shape, content))
        before = pad_nodes() if padded else ()
        after = end_nodes(self._value(self._network.outputs["restored"]), padded)
        attributes = {
            "Concat": [_attribute_int("axis", 0)],
            "Pad": [_attribute_text("mode", "edge")],
        }
        around = [
            [
                _node(operator, inputs, name, attributes.get(operator, ()))
                for operator, inputs, name in some
            ]
            for some in (before, after)
        ]
        return [*around[0], *nodes, *around[1]]

    def _value(self, number: int) -> str:
        return f"value.{number}" if number else self._input

    def _node(self, layer: Layer) -> bytes:
        inputs = [self._value(value) for value in layer.inputs]
        attributes: list[bytes] = []
        match layer.operator:
            case "conv" | "conv_transpose":
                inputs += [
                    self._array(one) for one in (layer.weight, layer.bias) if one is not None
                ]
                attributes = _convolution(layer)
            case "prelu" | "mul" if layer.weight is not None:
                inputs.append(self._array(layer.weight, (-1, 1, 1)))
            case "leaky_relu":
                attributes = [_attribute_float("alpha", layer.slope)]
            case "concat":
                attributes = [_attribute_int("axis", 1)]
            case "slice":
                inputs += map(self._numbers, (layer.start, layer.start + layer.count, 1))
            case "pixel_shuffle":
                attributes = [
                    _attribute_int("blocksize", layer.block),
                    _attribute_text("mode", layer.order),
                ]
            case "pixel_unshuffle":
                attributes = [_attribute_int("blocksize", layer.block)]
            case "upsample_nearest":
                inputs += ["", self._array(_DOUBLED)]
                attributes = [
                    _attribute_text("mode", "nearest"),
                    _attribute_text("coordinate_transformation_mode", "asymmetric"),
                    _attribute_text("nearest_mode", "floor"),
                ]
        return _node(_SIMPLE[layer.operator], inputs, self._value(layer.output), attributes)

    def _array(self, array: NDArray[np.float32], shape: tuple[int, ...] | None = None) -> str:
        """Return the name of the initializer that holds an array."""
        key = (id(array), shape)
        if key not in self._names:
            shaped = array if shape is None else array.reshape(shape)
            self._names[key] = f"weight.{len(self._names)}"
            content = shaped.astype("<f4").tobytes()
            self._initializers.append(_tensor(self._names[key], _FLOAT, shaped.shape, content))
        return self._names[key]

    def _numbers(self, number: int) -> str:
        """Return the name of the initializer [number]."""
        if number not in self._names:
            self._names[number] = f"number.{number}"
            content = struct.pack("<q", number)
            self._initializers.append(_tensor(self._names[number], _INT64, (1,), content))
        return self._names[number]


_DOUBLED = np.array([1, 1, 2, 2], np.float32)


def _convolution(layer: Layer) -> list[bytes]:
    assert layer.weight is not None
    return [
        _attribute_ints("kernel_shape", layer.weight.shape[2:]),
        _attribute_ints("strides", [layer.stride] * 2),
        _attribute_ints("pads", [layer.pad] * 4),
        _attribute_int("group", layer.groups),
    ]


def _node(
    operator: str, inputs: Iterable[str], output: str, attributes: Iterable[bytes] = ()
) -> bytes:
    """Return a NodeProto."""
    names = b"".join(_text(1, name) for name in inputs)
    return names + _text(2, output) + _text(4, operator) + b"".join(attributes)


def _attribute_int(name: str, value: int) -> bytes:
    return _message(5, _text(1, name) + _whole(3, value) + _whole(20, 2))


def _attribute_float(name: str, value: float) -> bytes:
    packed = _varint(2 << 3 | 5) + struct.pack("<f", value)
    return _message(5, _text(1, name) + packed + _whole(20, 1))


def _attribute_text(name: str, value: str) -> bytes:
    return _message(5, _text(1, name) + _text(4, value) + _whole(20, 3))


def _attribute_ints(name: str, values: Iterable[int]) -> bytes:
    numbers = b"".join(_whole(8, value) for value in values)
    return _message(5, _text(1, name) + numbers + _whole(20, 7))


def _tensor(name: str, kind: int, shape: tuple[int, ...], content: bytes) -> bytes:
    sides = b"".join(_whole(1, side) for side in shape)
    return sides + _whole(2, kind) + _text(8, name) + _message(9, content)


def _value_info(name: str, sides: Iterable[int | str]) -> bytes:
    dims = (_whole(1, side) if isinstance(side, int) else _text(2, side) for side in sides)
    shape = b"".join(_message(1, dim) for dim in dims)
    tensor = _whole(1, _FLOAT) + _message(2, shape)
    return _text(1, name) + _message(2, _message(1, tensor))


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, content: str) -> bytes:
    return _message(number, content.encode())


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
