"""Small random networks of every kind of layer, for parity tests of engines."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from cmudrn.models.layers import Floats, Layer, LayerList, ValueShape, infer_shape


class _Drawer:
    """Draws layers one after another; all weights come from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.layers: list[Layer] = []
        self.shapes = [ValueShape(3)]

    def add(self, operator: str, *inputs: int, **settings: object) -> int:
        layer = Layer(operator, inputs, len(self.shapes), **settings)  # type: ignore[arg-type]
        self.shapes.append(infer_shape(layer, [self.shapes[number] for number in inputs]))
        self.layers.append(layer)
        return layer.output

    def floats(self, *shape: int, spread: float = 0.3) -> Floats:
        return self.rng.normal(0, spread, shape).astype(np.float32)

    def conv(self, value: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> int:
        into = self.shapes[value].channels // groups
        weight = self.floats(out, into, kernel, kernel, spread=0.8 / np.sqrt(into * kernel**2))
        bias = self.floats(out, spread=0.1) if self.rng.random() < 0.8 else None
        pad = (kernel - 1) // 2
        return self.add(
            "conv", value, weight=weight, bias=bias, stride=stride, groups=groups, pad=pad
        )

    def activation(self, value: int) -> int:
        channels = self.shapes[value].channels
        match self.rng.integers(6):
            case 0:
                return self.add("relu", value)
            case 1:
                return self.add("leaky_relu", value, slope=float(np.float32(0.2)))
            case 2:
                return self.add("prelu", value, weight=self.floats(channels))
            case 3:
                return self.add("gelu", value)
            case 4:
                return self.add("sigmoid", value)
            case _:
                return value

    def down(self, value: int) -> int:
        channels = self.shapes[value].channels
        match self.rng.integers(4):
            case 0:
                return self.conv(value, 2 * channels, 3, 2)
            case 1:
                return self.conv(value, 2 * channels, 2, 2)
            case 2:
                return self.conv(value, 2 * channels, 4, 2)
            case _:
                wide = self.add("pixel_unshuffle", value, block=2)
                return self.conv(wide, 2 * channels, 1)

    def up(self, value: int, channels: int) -> int:
        wide = self.shapes[value].channels
        match self.rng.integers(4):
            case 0:
                weight = self.floats(wide, channels, 2, 2, spread=0.5 / np.sqrt(wide))
                return self.add(
                    "conv_transpose", value, weight=weight, bias=self.floats(channels), stride=2
                )
            case 1:
                weight = self.floats(wide, channels, 4, 4, spread=0.3 / np.sqrt(wide))
                return self.add("conv_transpose", value, weight=weight, stride=2, pad=1)
            case 2:
                order = ("CRD", "DCR")[self.rng.integers(2)]
                value = self.conv(value, 4 * channels, 3)
                return self.add("pixel_shuffle", value, block=2, order=order)
            case _:
                value = self.add("upsample_nearest", value, block=2)
                return self.conv(value, channels, 3)

    def mix(self, value: int) -> int:
        """Append what keeps channels and size."""
        channels = self.shapes[value].channels
        match self.rng.integers(6):
            case 0:
                return self.add("add", value, self.activation(self.conv(value, channels, 3)))
            case 1:
                return self.conv(value, channels, 5, groups=channels)
            case 2:
                return self.add("mul", value, weight=self.floats(channels, spread=1.0))
            case 3:
                half = channels // 2
                first = self.add("slice", value, start=0, count=half)
                second = self.add("slice", value, start=half, count=half)
                return self.conv(self.add("mul", first, second), channels, 1)
            case 4:
                both = self.add("concat", value, self.activation(value))
                return self.conv(both, channels, 1)
            case _:
                return self.activation(self.conv(value, channels, 3, groups=2))


def random_network(seed: int, scales: int = 3) -> LayerList:
    """Return a network of up to `scales` resolutions with skips, two outputs and sharing.

    The same seed gives the same network.
    """
    drawer = _Drawer(np.random.default_rng(seed))
    width = int(drawer.rng.choice([4, 8]))
    value = drawer.conv(0, width, 3)
    skips = []
    for _ in range(int(drawer.rng.integers(scales))):
        value = drawer.mix(value)
        skips.append(value)
        value = drawer.down(value)
    for _ in range(int(drawer.rng.integers(1, 4))):
        value = drawer.mix(value)
    while skips:
        skip = skips.pop()
        value = drawer.add("add", drawer.up(value, drawer.shapes[skip].channels), skip)
        value = drawer.mix(value)
    rain = drawer.conv(value, 3, 3)
    restored = drawer.add("add", 0, rain)
    return LayerList(tuple(drawer.layers), {"restored": restored, "rain": rain})


def record(**changes: Any) -> str:
    """Return the record of a model that removes rain at one depth."""
    about = {
        "format": 2, "name": "random", "network": "multi-scale", "tasks": ["rain"], "stages": 1,
        "recursions": 1, "elastic": False, "parameters": 1000, "licence": "MIT",
    }  # fmt: skip
    return json.dumps(about | changes)
