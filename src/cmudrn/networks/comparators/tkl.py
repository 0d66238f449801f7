"""TKL: the network of "Learning Multiple Adverse Weather Removal", which learns from teachers.

Written from notes about its structure, not from its authors' code; names of the weights are the
authors', so that their files fit. Teachers and student are this one network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MULTIPLE, SMALLEST = 16, 32
"""Sides that the network takes: a multiple of 16, at least 32."""

LEVELS = 4
"""How often the picture is halved on the way down."""


class ReflectConv(nn.Module):
    """Convolution with bias behind reflection padding, (B, C, H, W) to (B, C', H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.margin = (kernel // 2,) * 4
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolved maps."""
        return cast(Tensor, self.conv2d(F.pad(maps, self.margin, mode="reflect")))


class GrowingConv(nn.Module):
    """Transposed convolution without padding, from side n to side 2 n + 1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv2d = nn.ConvTranspose2d(inputs, outputs, 3, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C', 2 H + 1, 2 W + 1)."""
        return cast(Tensor, self.conv2d(maps))


class Residual(nn.Module):
    """x + 0.1 conv(PReLU(conv(x))), shaped like x; one slope for all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ReflectConv(channels, channels)
        self.conv2 = ReflectConv(channels, channels)
        self.relu = nn.PReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's output."""
        return maps + 0.1 * cast(Tensor, self.conv2(self.relu(self.conv1(maps))))


def triple(channels: int) -> nn.Sequential:
    """Return three residual blocks in sequence."""
    return nn.Sequential(*(Residual(channels) for _ in range(3)))


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, F.relu(self.conv(maps))], 1)


class DenseBlock(nn.Module):
    """Four convolutions, each seeing all before it, and a 1x1 convolution back, plus the input."""

    def __init__(self, channels: int, layers: int = 4) -> None:
        super().__init__()
        self.dense_layers = nn.Sequential(
            *(_DenseLayer(channels * (i + 1), channels) for i in range(layers))
        )
        self.conv_1x1 = nn.Conv2d(channels * (layers + 1), channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's output, shaped like maps."""
        return maps + cast(Tensor, self.conv_1x1(self.dense_layers(maps)))


class _UpStep(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.act = nn.PReLU()

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.deconv(maps)))


class _DownStep(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 4, 2, 1)
        self.act = nn.PReLU()

    def forward(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.conv(maps)))


class Fusion(nn.Module):
    """Corrects a map by maps of other sizes: go to the other's size, compare, bring back, add.

    Args:
        channels: of the map to correct.
        others: how many maps it is compared with; the i-th nearest is 2^i times
            as fine, or as coarse.
        finer: whether the others are finer, with half the channels for each step, or coarser.
    """

    def __init__(self, channels: int, others: int, *, finer: bool) -> None:
        super().__init__()
        self.finer = finer
        if finer:
            sizes = [(channels >> i, channels >> (i + 1)) for i in range(others)]
            self.up_convs = nn.ModuleList(_UpStep(*size) for size in sizes)
            self.down_convs = nn.ModuleList(_DownStep(*reversed(size)) for size in sizes)
        else:
            sizes = [(channels << i, channels << (i + 1)) for i in range(others)]
            self.down_convs = nn.ModuleList(_DownStep(*size) for size in sizes)
            self.up_convs = nn.ModuleList(_UpStep(*reversed(size)) for size in sizes)

    def forward(self, maps: Tensor, others: Sequence[Tensor]) -> Tensor:
        """Return the corrected map.

        Args:
            maps: (B, C, H, W).
            others: the farthest in size first.
        """
        steps = (self.up_convs, self.down_convs) if self.finer else (self.down_convs, self.up_convs)
        there, back = (list(part) for part in steps)
        for gone, other in enumerate(others):
            far = len(others) - gone
            travelled = maps
            for step in there[:far]:
                travelled = step(travelled)
            travelled = travelled - other
            for step in reversed(back[:far]):
                travelled = step(travelled)
            maps = maps + travelled
        return maps


@dataclass(frozen=True)
class TklOutputs:
    """What the network makes.

    Attributes:
        restored: (B, 3, H, W) RGB, not clipped.
        features: the maps that student and teachers are compared by in training: /4, /8, /16
            before the middle, and the bottleneck.
    """

    restored: Tensor
    features: tuple[Tensor, Tensor, Tensor, Tensor]


class TKL(nn.Module):
    """The network of TKL, (B, 3, H, W) RGB in [0, 1] to the same; sides multiples of 16, >= 32.

    Nothing joins input and output directly, and the output is not clipped.

    Args:
        channels: of the finest maps, even; 16 in the paper, fewer make a narrow variant.
        middle: residual blocks between encoder and decoder; 18 in the paper.

    References:
        Chen et al., Learning Multiple Adverse Weather Removal via Two-stage Knowledge Learning and
        Multi-contrastive Regularization, CVPR 2022. The body is MSBDN: Dong et al., CVPR 2020.
    """

    def __init__(self, channels: int = 16, middle: int = 18) -> None:
        super().__init__()
        self.conv_input = ReflectConv(3, channels, 11)
        self.dense0 = triple(channels)
        for level in range(1, LEVELS + 1):
            self._add_down(level, channels << level)
        self.dehaze = nn.Sequential(
            OrderedDict((f"res{i}", Residual(channels << LEVELS)) for i in range(middle))
        )
        for level in range(LEVELS, 0, -1):
            self._add_up(level, channels << (level - 1))
        self.conv_output = ReflectConv(channels, 3)

    def _add_down(self, level: int, channels: int) -> None:
        self.add_module(f"conv{1 << level}x", ReflectConv(channels // 2, channels, stride=2))
        self.add_module(f"conv{level}", DenseBlock(channels // 2))
        self.add_module(f"fusion{level}", Fusion(channels // 2, level, finer=True))
        if level < LEVELS:
            self.add_module(f"dense{level}", triple(channels))

    def _add_up(self, level: int, channels: int) -> None:
        self.add_module(f"convd{1 << level}x", GrowingConv(2 * channels, channels))
        self.add_module(f"dense_{level}", triple(channels))
        self.add_module(f"conv_{level}", DenseBlock(channels // 2))
        self.add_module(f"fusion_{level}", Fusion(channels // 2, LEVELS + 1 - level, finer=False))

    def _halves(self, name: str, maps: Tensor, memory: list[Tensor]) -> Tensor:
        """Return the maps with their first half fused and remembered, the second half densed."""
        first, second = maps.chunk(2, 1)
        first = self.get_submodule(f"fusion{name}")(first, memory)
        memory.append(first)
        return torch.cat([first, self.get_submodule(f"conv{name}")(second)], 1)

    def _encode(self, degraded: Tensor) -> list[Tensor]:
        """Return the maps at full size, /2, /4, /8 and /16."""
        maps = self.conv_input(degraded)
        memory = [maps.chunk(2, 1)[0]]
        maps = self.dense0(maps) + maps
        levels = [maps]
        for level in range(1, LEVELS + 1):
            maps = self.get_submodule(f"conv{1 << level}x")(maps)
            maps = self._halves(str(level), maps, memory)
            if level < LEVELS:
                maps = self.get_submodule(f"dense{level}")(maps) + maps
            levels.append(maps)
        return levels

    def _decode(self, bottleneck: Tensor, levels: Sequence[Tensor]) -> Tensor:
        maps, memory = bottleneck, [bottleneck.chunk(2, 1)[0]]
        for level in range(LEVELS, 0, -1):
            skip = levels[level - 1]
            grown = self.get_submodule(f"convd{1 << level}x")(maps)
            grown = F.interpolate(grown, skip.shape[2:], mode="bilinear", align_corners=False)
            joined = grown + skip
            joined = self.get_submodule(f"dense_{level}")(joined) + joined - grown
            maps = self._halves(f"_{level}", joined, memory)
        return cast(Tensor, self.conv_output(maps))

    def run(self, degraded: Tensor) -> TklOutputs:
        """Return the restored picture with the maps that training compares."""
        levels = self._encode(degraded)
        doubled = 2 * levels[-1]
        bottleneck = self.dehaze(doubled) + doubled - levels[-1]
        restored = self._decode(bottleneck, levels)
        return TklOutputs(restored, (levels[2], levels[3], levels[4], bottleneck))

    def forward(self, degraded: Tensor) -> Tensor:
        """Return the restored picture, (B, 3, H, W)."""
        return self.run(degraded).restored
