"""HDCW-Net: takes snow out of the coefficients of a dual-tree wavelet transform, scale by scale.

Written from notes about its structure, not from its authors' code. Layers of a block are numbered
as their authors made them, so that their files can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.errors import CmudrnError
from cmudrn.networks.comparators.dual_tree import Coefficients, inverse, transform

BORDER = 16
"""Pixels around the picture that the network sees and does not return."""

MULTIPLE = 16
"""Sides of what the network sees are multiples of it."""

SMALLEST = 48
"""The shortest side that it can see; of this, 16 pixels are returned."""

BANDS = 36
"""Channels of a set of complex coefficients: 3 colours, 6 directions, real and imaginary part."""

PICTURE = (480, 640)
"""Height and width of the pictures that the authors' weights are for."""

LOW_SLOPE, HIGH_SLOPE = 0.3, 0.5
"""Of the leaky ReLUs in blocks for low-pass maps and for coefficients."""


@dataclass(frozen=True)
class Widths:
    """How many channels each kind of layer has; the defaults are the paper's network.

    Attributes:
        tri: of each of the three convolutions that shrink the picture.
        low: in the blocks of low-pass maps.
        cond: of each convolution on what a coefficient block is told.
        shrunk: of each of its convolutions that shrink the coefficients.
        mixed: of each of the three after these.
        joined: of each of the three on both sides joined.
        grown: of each transposed convolution.
        long: of each of the two long convolutions.
    """

    tri: int = 12
    low: int = 64
    cond: int = 64
    shrunk: int = 54
    mixed: int = 18
    joined: int = 48
    grown: int = 32
    long: int = 64

    @classmethod
    def scaled(cls, factor: float) -> Widths:
        """Return all widths times a factor, rounded, each at least 1."""
        return cls(*(max(1, round(factor * width)) for width in vars(cls()).values()))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many zeros stand before and behind, by TensorFlow's rule "same"."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv2d):
    """Convolution with bias, padded by TensorFlow's rule: (B, C, H, W) to (B, C', H/s, W/s)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the convolved maps."""
        top, bottom = same_padding(maps.shape[2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(maps.shape[3], self.kernel_size[1], self.stride[1])
        return super().forward(F.pad(maps, (left, right, top, bottom)))


class Doubling(nn.ConvTranspose2d):
    """Transposed convolution to twice the size, cut by TensorFlow's rule "same"."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=2)

    def forward(self, maps: Tensor, _: list[int] | None = None) -> Tensor:
        """Return (B, C', 2 H, 2 W)."""
        height, width = (2 * size for size in maps.shape[2:])
        start = (self.kernel_size[0] - 2) // 2
        grown = super().forward(maps)
        return grown[:, :, start : start + height, start : start + width]


class PixelPReLU(nn.Module):
    """PReLU with a slope for every channel, and for every pixel where a size is given.

    Args:
        channels: C.
        size: (H, W) of the maps, or None: then any size goes, with one slope for a channel.
    """

    def __init__(self, channels: int, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, *(size or (1, 1))), 0.25))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps, (B, C, H, W), their negative values times the slopes."""
        return maps.clamp(min=0) + self.weight * maps.clamp(max=0)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # as Keras has them


def _convs(inputs: int, outputs: int, *kernels: int, stride: int = 1) -> list[SameConv]:
    return [SameConv(inputs, outputs, kernel, stride) for kernel in kernels]


def _high(maps: Tensor) -> Tensor:
    return F.leaky_relu(maps, HIGH_SLOPE)


class LowBlock(nn.Module):
    """Cleans a low-pass map, (B, 3, H, W), told what the picture looks like there.

    Args:
        told: channels of what it is told, (B, C, H, W).
        widths: of its layers.
    """

    def __init__(self, told: int, widths: Widths) -> None:
        super().__init__()
        c = widths.low
        middle = [
            layer for _ in range(4) for layer in (SameConv(c, 2 * c, 3), SameConv(2 * c, c, 3))
        ]
        self.convs = nn.ModuleList(
            [
                SameConv(told, c, 7),
                SameConv(3, c, 7),
                SameConv(2 * c, c, 7, 2),
                *middle,
                SameConv(c, c, 3),
                SameConv(2 * c, 3, 3),
            ]
        )
        self.norms = nn.ModuleList(_norm(size) for _ in range(4) for size in (2 * c, c))
        self.ups = nn.ModuleList([Doubling(c, c, 3)])

    def forward(self, low: Tensor, told: Tensor) -> Tensor:
        """Return the cleaned map, (B, 3, H, W)."""
        see, enter, shrink, *middle, leave, draw = self.convs
        joined = F.leaky_relu(torch.cat([see(told), enter(low)], 1), LOW_SLOPE)
        maps = shrink(joined)
        for i in range(4):
            inner = maps
            for j in (2 * i, 2 * i + 1):
                inner = F.leaky_relu(self.norms[j](middle[j](inner)), LOW_SLOPE)
            maps = maps + inner
        maps = F.leaky_relu(leave(maps), LOW_SLOPE)
        grown = torch.cat([self.ups[0](maps), F.interpolate(maps, scale_factor=2)], 1)
        return cast(Tensor, draw(grown + joined))


class HighBlock(nn.Module):
    """Cleans complex coefficients, (B, 36, H, W), told what the picture looks like there.

    Args:
        told: channels of what it is told, (B, C, H, W).
        widths: of its layers.
        size: (H, W) where every pixel has slopes of its own.
    """

    def __init__(self, told: int, widths: Widths, size: tuple[int, int] | None) -> None:
        super().__init__()
        w, half = widths, BANDS // 2
        self.convs = nn.ModuleList(
            [
                *_convs(told, w.cond, 2, 3, 5, stride=2),
                *_convs(3 * w.cond, w.cond, 2, 3, 5, 9),
                *_convs(BANDS, w.shrunk, 2, 3, 5, stride=2),
                *_convs(3 * w.shrunk, w.mixed, 2, 3, 5),
                *_convs(3 * w.mixed + 4 * w.cond, w.joined, 2, 3, 5),
                SameConv(3 * w.grown, w.long, (15, 1)),
                SameConv(3 * w.grown, w.long, (1, 15)),
                SameConv(w.long, half, (1, 15)),
                SameConv(w.long, half, (15, 1)),
                *_convs(BANDS, BANDS, 3, 3, 3, 3, 3),
            ]
        )
        sizes = (3 * w.cond, 4 * w.cond, 3 * w.shrunk, 3 * w.mixed, 3 * w.joined)
        self.norms = nn.ModuleList(_norm(channels) for channels in sizes)
        self.ups = nn.ModuleList(Doubling(3 * w.joined, w.grown, kernel) for kernel in (2, 3, 7))
        self.slopes = PixelPReLU(BANDS, size)

    def _all(self, maps: Tensor, layers: slice, *, active: bool = True) -> Tensor:
        """Return the outputs of some convolutions on the same maps, behind one another."""
        made = [conv(maps) for conv in self.convs[layers]]
        return torch.cat([_high(each) if active else each for each in made], 1)

    def _meet(self, bands: Tensor, told: Tensor) -> Tensor:
        """Return both sides joined, (B, 3 joined, H/2, W/2)."""
        told = _high(self.norms[0](self._all(told, slice(0, 3), active=False)))
        told = _high(self.norms[1](self._all(told, slice(3, 7))))
        maps = _high(self.norms[2](self._all(bands, slice(7, 10), active=False)))
        maps = _high(self.norms[3](self._all(maps, slice(10, 13))))
        return cast(Tensor, self.norms[4](self._all(torch.cat([maps, told], 1), slice(13, 16))))

    def forward(self, bands: Tensor, told: Tensor) -> Tensor:
        """Return the cleaned coefficients, (B, 36, H, W)."""
        met = self._meet(bands, told)
        maps = torch.cat([_high(up(met)) for up in self.ups], 1)
        down, across, then_across, then_down, a, b, c, d, last = self.convs[16:]
        maps = torch.cat([then_across(down(maps)), then_down(across(maps))], 1)
        maps = b(_high(a(maps)))
        maps = maps + d(_high(c(maps)))
        return bands + cast(Tensor, self.slopes(last(maps)))


def pack_fine(bands: Tensor) -> Tensor:
    """Return level 1 as the network sees it, (B, 36, h, w): direction by direction of a colour."""
    return bands.flatten(1, 3)


def pack_coarse(bands: Tensor) -> Tensor:
    """Return level 2 as the network sees it, (B, 36, h, w): colour by colour of a direction."""
    return bands.transpose(2, 3).flatten(1, 3)


def unpack(maps: Tensor) -> Tensor:
    """Return channels as bands, (B, 2, 3, 6, h, w): colour by colour of a direction.

    For level 1 this is not how they were packed. The authors' weights learned with it.
    """
    batch, _, height, width = maps.shape
    return maps.view(batch, 2, 6, 3, height, width).transpose(2, 3)


@dataclass(frozen=True)
class HdcwOutputs:
    """What the network makes; 1 is the outer transform, 2 the one of its low-pass map.

    Attributes:
        restored: (B, 3, H - 32, W - 32) YCrCb, not clipped.
        whole: the same with its border, (B, 3, H, W).
        low1: (B, 3, H/2, W/2).
        fine1: (B, 36, H/2, W/2), channels as the inverse reads them.
        coarse1: (B, 36, H/4, W/4).
        low2: (B, 3, H/4, W/4).
        fine2: (B, 36, H/4, W/4).
        coarse2: (B, 36, H/8, W/8).
    """

    restored: Tensor
    whole: Tensor
    low1: Tensor
    fine1: Tensor
    coarse1: Tensor
    low2: Tensor
    fine2: Tensor
    coarse2: Tensor


class HDCWNet(nn.Module):
    """The network of HDCW-Net: (B, 3, H, W) YCrCb in [0, 1] to (B, 3, H - 32, W - 32), not clipped.

    Sides are multiples of 16, at least 48. Dropout, which the authors train with, is left out.

    Args:
        size: (H, W) that it sees, for slopes of its own at every pixel as the paper has them, or
            None for any size and one slope for each channel.
        widths: channels of its layers; narrower ones make a narrow variant.

    References:
        Chen et al., ALL Snow Removed: Single Image Desnowing Algorithm Using Hierarchical
        Dual-tree Complex Wavelet Representation and Contradict Channel Loss, ICCV 2021.
    """

    def __init__(self, size: tuple[int, int] | None = None, widths: Widths | None = None) -> None:
        super().__init__()
        w = widths or Widths()
        tri = 3 * w.tri

        def at(part: int) -> tuple[int, int] | None:
            return (size[0] // part, size[1] // part) if size else None

        self.convs = nn.ModuleList(
            conv
            for channels in (3, 3, tri, tri)
            for conv in _convs(channels, w.tri, 2, 3, 5, stride=2)
        )
        self.x2L = LowBlock(2 * tri, w)
        self.x2H0 = HighBlock(3 + 2 * tri, w, at(4))
        self.x2H1 = HighBlock(tri, w, at(8))
        self.x1L = LowBlock(3 + tri, w)
        self.x1H0 = HighBlock(3 + tri, w, at(2))
        self.x1H1 = HighBlock(tri, w, at(4))

    def _tri(self, maps: Tensor, first: int) -> Tensor:
        return torch.cat([conv(maps) for conv in self.convs[first : first + 3]], 1)

    def run(self, degraded: Tensor) -> HdcwOutputs:
        """Return the restored picture with the maps that the wavelet loss compares.

        Raises:
            CmudrnError: a side is no multiple of 16, or shorter than 48.
        """
        _check_size(degraded)
        outer = transform(degraded)
        inner = transform(outer.low)
        seen = self._tri(degraded, 0)
        seen_low = self._tri(outer.low, 3)
        seen_2 = self._tri(seen, 6)
        seen_3 = self._tri(seen_2, 9)
        low2 = self.x2L(inner.low, torch.cat([seen_2, seen_low], 1))
        fine2 = self.x2H0(pack_fine(inner.fine), torch.cat([low2, seen_2, seen_low], 1))
        coarse2 = self.x2H1(pack_coarse(inner.coarse), seen_3)
        rebuilt = inverse(Coefficients(low2, unpack(fine2), unpack(coarse2)))
        low1 = self.x1L(outer.low, torch.cat([rebuilt, seen], 1))
        fine1 = self.x1H0(pack_fine(outer.fine), torch.cat([low1, seen], 1))
        coarse1 = self.x1H1(pack_coarse(outer.coarse), seen_2)
        whole = inverse(Coefficients(low1, unpack(fine1), unpack(coarse1)))
        restored = whole[:, :, BORDER:-BORDER, BORDER:-BORDER]
        return HdcwOutputs(restored, whole, low1, fine1, coarse1, low2, fine2, coarse2)

    def forward(self, degraded: Tensor) -> Tensor:
        """Return the restored picture without its border."""
        return self.run(degraded).restored


def _check_size(degraded: Tensor) -> None:
    height, width = degraded.shape[2:]
    if height % MULTIPLE or width % MULTIPLE or min(height, width) < SMALLEST:
        raise CmudrnError(
            f"HDCW-Net takes sides that are multiples of {MULTIPLE}, of {SMALLEST} or more; "
            f"this picture has {height}x{width}."
        )
