"""One description of a network: a list of layers, which every engine runs.

A `LayerList` is flat: loops are unrolled, every layer comes after those that it reads, and values
are small integers. Value 0 is the degraded image, 3 channels. Operators are those of `OPERATORS`;
what each reads is said at `Layer`. A list checks itself when it is made, so that an engine may
rely on every index, shape and size in it.

    LayerList(layers=(Layer("conv", (0,), 1, weight, bias, pad=1), Layer("add", (0, 1), 2)),
              outputs={"restored": 2})
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OPERATORS = (
    "conv",
    "conv_transpose",
    "relu",
    "leaky_relu",
    "prelu",
    "gelu",
    "sigmoid",
    "add",
    "mul",
    "concat",
    "slice",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample_nearest",
)

MAX_LAYERS = 400_000
"""Layers of a list; 64 stages of 64 recursions of two branches are about half of that."""
MAX_CHANNELS = 4096
MAX_KERNEL = 31
MAX_SCALE = 64
"""How much smaller (or larger) than the image a map may be."""


class NetworkError(ValueError):
    """A network that is malformed, or not of the kind described here; does not name the file."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Padding is with zeros. Channels of every value are in `LayerList.channels`.

    | operator | reads | does |
    |---|---|---|
    | conv | weight (C_out, C_in / groups, k, k), bias (C_out,) or None, stride 1 or 2, pad, groups | k odd, or 2 or 4 with stride 2 |
    | conv_transpose | weight (C_in, C_out / groups, k, k), bias, stride 2, pad, groups | 2x2 with pad 0, or 4x4 with pad 1 |
    | relu, gelu, sigmoid | | gelu is the exact one: x / 2 (1 + erf(x / sqrt 2)) |
    | leaky_relu | slope | x where x > 0, else slope x |
    | prelu | weight (C,) | as leaky_relu, a slope for each channel |
    | add | two inputs of one shape | their sum |
    | mul | weight (C,) and one input, or two inputs of one shape | the product; a weight is one factor for each channel |
    | concat | two inputs or more | their channels, one after another |
    | slice | start, channels | channels from start on, so many |
    | pixel_shuffle | block r, order | (r r C, H, W) to (C, r H, r W); input channel of output (c, y r + i, x r + j): order "CRD" c r r + i r + j, order "DCR" (i r + j) C + c |
    | pixel_unshuffle | block r | the inverse of order "DCR": (C, r H, r W) to (r r C, H, W) |
    | upsample_nearest | block 2 | every value four times |

    Attributes:
        operator: one of `OPERATORS`.
        inputs: the values it reads.
        output: the value it makes.
        weight: float32; layers of one weight in the file hold the same array object.
        bias: float32 (C_out,), likewise.
        stride: 1 or 2.
        groups: of a convolution.
        pad: zeros on every side.
        slope: of leaky_relu.
        block: r.
        start: first channel of a slice.
        count: channels of a slice.
        order: of pixel_shuffle: "CRD" (as torch's) or "DCR".
    """  # noqa: E501

    operator: str
    inputs: tuple[int, ...]
    output: int
    weight: Floats | None = None
    bias: Floats | None = None
    stride: int = 1
    groups: int = 1
    pad: int = 0
    slope: float = 0.0
    block: int = 1
    start: int = 0
    count: int = 0
    order: str = "CRD"


@dataclass(frozen=True)
class ValueShape:
    """What is known of a value before the image's size is.

    Attributes:
        channels: how many.
        scale: how many pixels of the image its side of one pixel spans: 2 for a map of half the
            height and width, 0.5 for one of twice.
        first: offset in image pixels, from a pixel's corner, of the first that it can see.
        last: likewise, of the last.
    """

    channels: int
    scale: float = 1.0
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True, eq=False)
class LayerList:
    """A network.

    Attributes:
        layers: in an order they can run in; layer i makes value i + 1.
        outputs: name -> value: "restored", and one for each task. All have 3 channels and the
            image's size.

    Raises:
        NetworkError: the layers are none that can run.
    """

    layers: tuple[Layer, ...]
    outputs: Mapping[str, int]
    shapes: tuple[ValueShape, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every layer and work out the shape of every value."""
        if len(self.layers) > MAX_LAYERS:
            raise NetworkError(f"it has more than {MAX_LAYERS} layers")
        shapes = [ValueShape(3)]
        for index, layer in enumerate(self.layers):
            if layer.output != index + 1 or not layer.inputs:
                raise NetworkError(f"layer {index} makes value {layer.output}")
            if not all(0 <= value <= index for value in layer.inputs):
                raise NetworkError(f"layer {index} reads a value that is not made yet")
            shapes.append(infer_shape(layer, [shapes[value] for value in layer.inputs]))
        object.__setattr__(self, "shapes", tuple(shapes))
        for name, value in self.outputs.items():
            if not 0 <= value < len(shapes):
                raise NetworkError(f"its output {name} does not exist")
            if (shapes[value].channels, shapes[value].scale) != (3, 1.0):
                raise NetworkError(f"its output {name} is no image of three channels")

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Channels of each value."""
        return tuple(shape.channels for shape in self.shapes)

    @cached_property
    def receptive_radius(self) -> int:
        """How far an output pixel can see, in pixels of the image; never too small."""
        seen = [self.shapes[value] for value in self.outputs.values()]
        return max((math.ceil(max(-shape.first, shape.last)) for shape in seen), default=0)

    @cached_property
    def alignment(self) -> int:
        """What the sides of an image have to be multiples of, and the corner of a tile too."""
        return math.lcm(*(max(1, int(shape.scale)) for shape in self.shapes))

    @cached_property
    def multiply_adds_per_pixel(self) -> float:
        """Multiplications with an addition, of all convolutions, for one pixel of the image."""
        total = 0.0
        for layer in self.layers:
            if layer.weight is not None and layer.operator in ("conv", "conv_transpose"):
                value = layer.output if layer.operator == "conv" else layer.inputs[0]
                total += layer.weight.size / self.shapes[value].scale ** 2
        return total

    @cached_property
    def parameters(self) -> int:
        """Numbers in the weights and biases, each once however many layers share it.

        A factor that is one number for all channels is a constant, not a parameter.
        """
        arrays = {id(layer.weight): (layer.operator, layer.weight) for layer in self.layers}
        arrays |= {id(layer.bias): (layer.operator, layer.bias) for layer in self.layers}
        return sum(
            array.size
            for operator, array in arrays.values()
            if array is not None and not (operator == "mul" and np.ptp(array) == 0)
        )

    def restricted(self, names: Iterable[str]) -> LayerList:
        """Return what is needed of the network for some of its outputs.

        Raises:
            KeyError: there is no such output.
        """
        outputs = {name: self.outputs[name] for name in names}
        needed = set(outputs.values())
        for layer in reversed(self.layers):
            if layer.output in needed:
                needed.update(layer.inputs)
        if len(needed | {0}) == len(self.layers) + 1:
            return LayerList(self.layers, outputs)
        number = {0: 0}
        kept: list[Layer] = []
        for layer in self.layers:
            if layer.output in needed:
                number[layer.output] = len(kept) + 1
                inputs = tuple(number[value] for value in layer.inputs)
                kept.append(_renumbered(layer, inputs, len(kept) + 1))
        return LayerList(tuple(kept), {name: number[value] for name, value in outputs.items()})


def _renumbered(layer: Layer, inputs: tuple[int, ...], output: int) -> Layer:
    return Layer(**{**layer.__dict__, "inputs": inputs, "output": output})


def infer_shape(layer: Layer, inputs: list[ValueShape]) -> ValueShape:
    """Return the shape of a layer's output.

    Raises:
        NetworkError: the layer does not fit its inputs, or has numbers out of range.
    """
    first = inputs[0]
    if layer.operator not in OPERATORS:
        raise NetworkError(f"it has a layer of unknown kind {layer.operator!r}")
    single = layer.operator not in ("add", "concat") and (
        layer.operator != "mul" or layer.weight is not None
    )
    wanted = len(inputs) == 1 if single else len(inputs) >= 2
    if not wanted or (layer.operator in ("add", "mul") and len(inputs) > 2):
        raise NetworkError(f"a layer {layer.operator} has {len(inputs)} inputs")
    if any(one.scale != two.scale for one, two in pairwise(inputs)):
        raise NetworkError(f"a layer {layer.operator} joins maps of different size")
    match layer.operator:
        case "conv" | "conv_transpose":
            shape = _convolved(layer, first)
        case "slice":
            if not 0 <= layer.start < layer.start + layer.count <= first.channels:
                raise NetworkError("a layer slice takes channels that are not there")
            shape = ValueShape(layer.count, first.scale, first.first, first.last)
        case "pixel_shuffle" | "upsample_nearest" | "pixel_unshuffle":
            shape = _resized(layer, first)
        case _:
            shape = _elementwise(layer, inputs)
    if not 1 <= shape.channels <= MAX_CHANNELS or not 1 / MAX_SCALE <= shape.scale <= MAX_SCALE:
        raise NetworkError(f"a layer {layer.operator} makes a map past the limits")
    return shape


def _elementwise(layer: Layer, inputs: list[ValueShape]) -> ValueShape:
    channels = inputs[0].channels
    if layer.operator == "concat":
        channels = sum(shape.channels for shape in inputs)
    elif any(shape.channels != channels for shape in inputs):
        raise NetworkError(f"a layer {layer.operator} joins maps of different channels")
    if layer.operator == "prelu" or layer.weight is not None:
        _check_array(layer, layer.weight, (channels,))
    return ValueShape(
        channels,
        inputs[0].scale,
        min(shape.first for shape in inputs),
        max(shape.last for shape in inputs),
    )


def _resized(layer: Layer, shape: ValueShape) -> ValueShape:
    """Return the shape after a change of resolution without weights."""
    block, area = layer.block, layer.block**2
    fits = 2 <= block <= 8 and layer.order in ("CRD", "DCR")
    if not fits or (layer.operator == "upsample_nearest" and block != 2):
        raise NetworkError(f"a layer {layer.operator} has blocks of {block}")
    scale = shape.scale / block
    if layer.operator == "pixel_unshuffle":
        reach = (block - 1) * shape.scale
        return ValueShape(
            shape.channels * area, shape.scale * block, shape.first, shape.last + reach
        )
    channels = shape.channels
    if layer.operator == "pixel_shuffle":
        if channels % area:
            raise NetworkError(f"a layer pixel_shuffle cannot divide {channels} channels")
        channels //= area
    return ValueShape(channels, scale, shape.first - (block - 1) * scale, shape.last)


def _convolved(layer: Layer, shape: ValueShape) -> ValueShape:
    weight, stride, groups, pad = layer.weight, layer.stride, layer.groups, layer.pad
    transposed = layer.operator == "conv_transpose"
    if weight is None or weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise NetworkError(f"a layer {layer.operator} has no square kernel")
    kernel = weight.shape[2]
    if transposed:
        fits = (kernel, stride, pad) in ((2, 2, 0), (4, 2, 1))
    else:  # the map of a side that is a multiple of the stride becomes that side / stride
        fits = stride in (1, 2) and 1 <= kernel <= MAX_KERNEL and 1 <= kernel - 2 * pad <= stride
    if not fits or not 0 <= pad < kernel:
        raise NetworkError(
            f"a layer {layer.operator} has the kernel {kernel}, stride {stride} and pad {pad}"
        )
    inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        inputs, outputs = outputs, inputs
    if groups < 1 or inputs != shape.channels or weight.shape[0] % groups or not outputs:
        raise NetworkError(
            f"a layer {layer.operator} of shape {weight.shape} in {groups} groups "
            f"meets {shape.channels} channels"
        )
    _check_array(layer, weight, weight.shape)
    if layer.bias is not None:
        _check_array(layer, layer.bias, (outputs,))
    if transposed:
        scale = shape.scale / stride
        before, after = (pad - kernel + 1) * scale, pad * scale
    else:
        scale = shape.scale * stride
        before, after = -pad * shape.scale, (kernel - 1 - pad) * shape.scale
    return ValueShape(outputs, scale, shape.first + before, shape.last + after)


def _check_array(layer: Layer, array: Floats | None, shape: tuple[int, ...]) -> None:
    if array is None or array.dtype != np.float32 or array.shape != shape:
        raise NetworkError(f"a layer {layer.operator} lacks numbers of the shape {shape}")
