"""Random networks, wide and in groups, and how ONNX Runtime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from cmudrn.models.layers import Floats, Layer, LayerList
from cmudrn.models.onnx_writer import INPUT, write_onnx

MAX_AREA = 8
"""How much smaller than the image, along a side, a random network's maps become."""


class NetworkBuilder:
    """Appends layers with random weights."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[Layer] = []
        self.channels = [3]
        self.scales = [1]  # pixels of the image along a side of one of the map's

    def add(
        self, operator: str, *inputs: int, channels: int, scale: float = 1, **about: Any
    ) -> int:
        """Append a layer and return its value."""
        output = len(self.layers) + 1
        self.layers.append(Layer(operator, inputs, output, **about))
        self.channels.append(channels)
        self.scales.append(int(self.scales[inputs[0]] * scale))
        return output

    def numbers(self, *shape: int, size: float = 1) -> Floats:
        """Return random float32 weights."""
        numbers: Floats = (size * self.rng.standard_normal(shape)).astype(np.float32)
        return numbers

    def conv(
        self, x: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1,
        *, bias: bool = True,
    ) -> int:  # fmt: skip
        """Append a convolution whose numbers stay near 1."""
        each = self.channels[x] // groups
        weight = self.numbers(outputs, each, kernel, kernel, size=(each * kernel**2) ** -0.5)
        return self.add(
            "conv", x, channels=outputs, scale=stride, weight=weight,
            bias=self.numbers(outputs, size=0.1) if bias else None, stride=stride, groups=groups,
            pad=(kernel - 1) // 2,
        )  # fmt: skip

    def conv_transpose(self, x: int, outputs: int, kernel: int, groups: int = 1) -> int:
        """Append a transposed convolution of stride 2."""
        inputs = self.channels[x]
        weight = self.numbers(inputs, outputs // groups, kernel, kernel, size=inputs**-0.5)
        return self.add(
            "conv_transpose", x, channels=outputs, scale=0.5, weight=weight,
            bias=self.numbers(outputs, size=0.1), stride=2, groups=groups, pad=kernel // 2 - 1,
        )  # fmt: skip

    def relu(self, x: int) -> int:
        """Append a ReLU."""
        return self.add("relu", x, channels=self.channels[x])

    def sum(self, x: int, y: int) -> int:
        """Append an addition."""
        return self.add("add", x, y, channels=self.channels[x])

    def finish(self, **outputs: int) -> LayerList:
        """Return the network."""
        return LayerList(tuple(self.layers), outputs)


def random_network(seed: int) -> LayerList:
    """Return a network that returns an image: 4 to 24 random layers, or every third one a U-Net."""
    if seed % 3 == 0:
        return random_unet(seed)
    build = NetworkBuilder(seed)
    rng = build.rng
    for _ in range(rng.integers(4, 25)):
        x = int(rng.integers(max(0, len(build.layers) - 6), len(build.layers) + 1))
        _append_random(build, x)
    x = len(build.layers)
    if rng.random() < 0.3:
        x = int(rng.integers(1, len(build.layers) + 1))
    block = build.scales[x]
    x = build.conv(x, 3 * block**2, int(rng.choice([1, 3])))
    if block > 1:
        order = str(rng.choice(["CRD", "DCR"]))
        x = build.add("pixel_shuffle", x, channels=3, scale=1 / block, block=block, order=order)
    if rng.random() < 0.7:
        x = build.sum(*((0, x) if rng.random() < 0.5 else (x, 0)))
    return build.finish(restored=x)


def _append_random(build: NetworkBuilder, x: int) -> None:  # noqa: C901
    """Append one random layer, or a few that belong together, to a value."""
    rng, channels, scale = build.rng, build.channels[x], build.scales[x]
    alike = [
        y for y in range(len(build.channels))
        if (build.channels[y], build.scales[y]) == (channels, scale)
    ]  # fmt: skip
    y, groups = int(rng.choice(alike)), int(rng.choice(_divisors(channels)))
    wide = groups * int(rng.integers(1, max(2, 48 // groups + 1)))
    match rng.integers(0, 15):
        case 0 | 1 | 2:
            build.conv(x, wide, groups=groups, bias=bool(rng.random() < 0.8))
        case 3:
            build.conv(x, wide, int(rng.choice([1, 5, 7])), groups=groups)
        case 4 if scale < MAX_AREA:
            build.conv(x, wide, int(rng.choice([1, 2, 3, 4])), stride=2, groups=groups)
        case 5 if scale > 1:
            build.conv_transpose(x, wide, int(rng.choice([2, 4])), groups)
        case 6:
            kind = str(rng.choice(["relu", "gelu", "sigmoid"]))
            build.add(kind, x, channels=channels)
        case 7:
            build.add("leaky_relu", x, channels=channels, slope=float(np.float32(rng.random())))
        case 8:
            build.add("prelu", x, channels=channels, weight=build.numbers(channels))
        case 9:
            build.sum(x, y)
        case 10:
            if rng.random() < 0.5:
                build.add("mul", x, channels=channels, weight=build.numbers(channels))
            else:
                build.add("mul", x, y, channels=channels)
        case 11 if channels <= 64:
            build.add("concat", x, y, channels=2 * channels)
        case 12:
            start = int(rng.integers(0, channels))
            count = int(rng.integers(1, channels - start + 1))
            build.add("slice", x, channels=count, start=start, count=count)
        case 13 if scale > 1 and channels % 4 == 0:
            _shuffle(build, "pixel_shuffle", x, channels // 4, 0.5)
        case 13 if scale > 1:
            build.add("upsample_nearest", x, channels=channels, scale=0.5, block=2)
        case 14 if scale < MAX_AREA and channels <= 24:
            _shuffle(build, "pixel_unshuffle", x, 4 * channels, 2)
        case _:
            _cross_stitch(build, x)


def _shuffle(build: NetworkBuilder, operator: str, x: int, channels: int, scale: float) -> None:
    order = {"order": str(build.rng.choice(["CRD", "DCR"]))} if operator == "pixel_shuffle" else {}
    build.add(operator, x, channels=channels, scale=scale, block=2, **order)


def _cross_stitch(build: NetworkBuilder, x: int, parts: int = 2, *, bias: bool = False) -> int:
    """Append a 1x1 convolution that mixes equal parts channel by channel."""
    channels = build.channels[x]
    if channels % parts:
        return build.relu(x)
    weight = np.zeros((channels, channels), np.float32)
    each = channels // parts
    for row in range(parts):
        for column in range(parts):
            block = weight[row * each : (row + 1) * each, column * each : (column + 1) * each]
            block[np.diag_indices(each)] = build.numbers(each)
    return build.add(
        "conv", x, channels=channels, weight=weight[:, :, None, None],
        bias=build.numbers(channels, size=0.1) if bias else None,
    )  # fmt: skip


def random_unet(seed: int) -> LayerList:
    """Return a small U-Net of one to four branches that mix, as the default model's do."""
    build = NetworkBuilder(seed)
    rng = build.rng
    branches, widths = int(rng.integers(1, 5)), [int(n) for n in rng.integers(1, 28, 3)]
    x = build.add("pixel_unshuffle", 0, channels=12, scale=2, block=2)
    x = build.relu(build.conv(x, branches * widths[0]))
    skips = []
    for width in widths[1:]:
        skips.append(_mixed_block(build, x, branches))
        x = build.relu(build.conv(skips[-1], branches * width, stride=2, groups=branches))
    x = _mixed_block(build, x, branches)
    for skip in reversed(skips):
        x = build.sum(*rng.permutation([_enlarged(build, x, skip, branches), skip]).tolist())
        if rng.random() < 0.5:
            extra = build.conv(skip, build.channels[skip], groups=branches)
            x = build.sum(*rng.permutation([x, extra]).tolist())
        x = _mixed_block(build, x, branches)
    x = build.add("pixel_shuffle", build.conv(x, 12), channels=3, scale=0.5, block=2)
    return build.finish(restored=build.sum(0, x))


def _mixed_block(build: NetworkBuilder, x: int, branches: int) -> int:
    """Append a residual block for each branch, and mostly what mixes them."""
    channels = build.channels[x]
    inner = build.relu(build.conv(x, channels, groups=branches))
    y = build.sum(x, build.conv(inner, channels, groups=branches))
    if branches == 1 or build.rng.random() < 0.3:
        return y
    return _cross_stitch(build, y, branches, bias=bool(build.rng.random() < 0.5))


def _enlarged(build: NetworkBuilder, x: int, like: int, branches: int) -> int:
    """Append what brings a map to the size and the channels of another one."""
    channels = build.channels[like]
    if build.rng.random() < 0.5:
        return build.conv_transpose(x, channels, 2, branches)
    groups = int(build.rng.choice([1, branches]))
    y = build.conv(x, 4 * channels, int(build.rng.choice([1, 1, 3])), groups=groups)
    return build.add("pixel_shuffle", y, channels=channels, scale=0.5, block=2)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def run_onnxruntime(network: LayerList, batch: Floats) -> dict[str, Floats]:
    """Return what ONNX Runtime makes of a batch."""
    session = ort.InferenceSession(write_onnx(network), providers=["CPUExecutionProvider"])
    results = session.run(list(network.outputs), {INPUT: batch})
    return dict(zip(network.outputs, results, strict=True))
