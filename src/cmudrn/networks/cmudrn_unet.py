"""CMUDRN over several scales: a U-shaped network with two cross-stitched branches.

The paper's network works at full resolution and sees 91 pixels; this one keeps its idea (a branch
for each task, cross-stitch units, estimates that are refined in stages and each held to the clean
picture, a fusion head) on a pyramid of 1/2, 1/4, 1/8 and 1/16 of the resolution, and sees some 300
pixels at a sixth of the cost.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.cross_stitch import FixedCrossStitch, LearnedCrossStitch
from cmudrn.networks.drn import Outputs, pad_to_multiple
from cmudrn.networks.winograd import Conv2d, convolve, uses_engine

STAGES = 2
"""Estimates of each branch: the first from the features at 1/4, the second from those at 1/2."""
SHUFFLE = 2
"""Pixel unshuffle before the network, and pixel shuffle behind it."""
HEAD = 24
"""Channels of the fusion head."""


class BranchConv(nn.Module):
    """One convolution for each of N branches, whose maps lie behind one another in one tensor.

    Every branch keeps weights of its own, which the optimiser sees apart; they run as one
    convolution in groups.

    Args:
        branches: N.
        inputs: channels of one branch's map, or of the one map that all branches share.
        outputs: channels of one branch's result.
        kernel: side of the kernel, 1 or 3.
        stride: 1 or 2.
        shared: all branches see the same map, (B, inputs, H, W).
    """

    def __init__(
        self,
        branches: int,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.kernel, self.shared = stride, kernel, shared
        self.own = nn.ModuleList(nn.Conv2d(inputs, outputs, kernel) for _ in range(branches))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, N outputs, H / stride, W / stride) from (B, N inputs, H, W)."""
        return self._convolve(maps, *self._parameters_of_all())

    def enlarged(self, maps: Tensor) -> Tensor:
        """Return the pixel shuffle of the result, (B, N outputs / 4, 2 H, 2 W)."""
        if not uses_engine():
            return F.pixel_shuffle(self(maps), 2)
        # A shuffle of whole runs of channels is fast: the weights are put in its order.
        branches = len(self.own)
        weight, bias = (
            one.reshape(branches, -1, 4, *one.shape[1:]).transpose(1, 2).reshape(one.shape)
            for one in self._parameters_of_all()
        )
        made = self._convolve(maps, weight, bias).permute(0, 2, 3, 1)
        count, height, width, channels = made.shape
        runs = made.reshape(count, height, width, branches, 2, 2, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return runs.reshape(count, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)

    def _parameters_of_all(self) -> tuple[Tensor, Tensor]:
        """Return the weights and the biases of all branches, one after another."""
        weight = torch.cat([own.weight for own in self.own])  # type: ignore[misc]
        return weight, torch.cat([own.bias for own in self.own])  # type: ignore[misc]

    def _convolve(self, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        groups = 1 if self.shared else len(self.own)
        return convolve(maps, weight, bias, self.stride, self.kernel // 2, groups)


class BranchBlock(nn.Module):
    """h + conv_b(ReLU(conv_a(h))) for every branch, (B, N C, H, W) to the same."""

    def __init__(self, branches: int, features: int) -> None:
        super().__init__()
        self.conv_a = BranchConv(branches, features, features)
        self.conv_b = BranchConv(branches, features, features)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, shaped like h."""
        changed: Tensor = self.conv_b(F.relu(self.conv_a(h), inplace=True))
        return h + changed


class CMUDRNUNet(nn.Module):
    """Two cross-stitched branches on four scales, an estimate at each of the two finest.

        maps_1 = ReLU(enter(unshuffle(y)))
        down:    maps_i = stitch(block(maps_i));  maps_(i+1) = ReLU(strided conv(maps_i))
        bottom:  maps_4 = stitch(two blocks(maps_4))
        up:      maps_i = stitch(block(shuffle(1x1 conv(maps_(i+1))) + maps_i))
        x^1 = y + shuffle(first(maps_2));  its residual enters maps_1 on the way up (recursion)
        x^2 = y + shuffle(last(maps_1));   fused = y + shuffle(mean of the residuals + head)

    Every operation is local and every padding is zero, so that tiles which begin at multiples of
    `alignment` and overlap by `radius` give what the whole picture gives. Sides that are no such
    multiples are padded with their last row and column, and the result is cut.

    Args:
        config: tasks and widths.
        checkpoint_stages: has no meaning here.
    """

    def __init__(self, config: NetworkConfig, *, checkpoint_stages: bool = False) -> None:
        super().__init__()
        del checkpoint_stages
        self.tasks, self.widths = config.tasks, config.widths
        n, w = len(config.tasks), config.widths
        folded = 3 * SHUFFLE**2
        self.alignment = alignment(config)
        self.enter = BranchConv(n, folded, w[0], shared=True)
        self.down = nn.ModuleList(BranchBlock(n, c) for c in w[:-1])
        self.narrow = nn.ModuleList(BranchConv(n, c, d, stride=2) for c, d in pairwise(w))
        self.bottom = nn.ModuleList(BranchBlock(n, w[-1]) for _ in range(2))
        self.rise = nn.ModuleList(BranchConv(n, d, 4 * c, 1) for c, d in pairwise(w))
        self.up = nn.ModuleList(BranchBlock(n, c) for c in w[:-1])
        self.stitch_down = nn.ModuleList(_make_stitch(config, c) for c in w)
        self.stitch_up = nn.ModuleList(_make_stitch(config, c) for c in w[:-1])
        self.first = BranchConv(n, w[1], 4 * folded)
        self.again = BranchConv(n, folded, w[0])
        self.last = BranchConv(n, w[0], folded)
        self.head1 = nn.Conv2d(n * (folded + w[0]), HEAD, 1)
        self.head2 = Conv2d(HEAD, HEAD, 3, padding=1)
        self.head3 = Conv2d(HEAD, folded, 3, padding=1)
        with torch.no_grad():  # the network starts near its input
            for layer in (*self.first.own, *self.last.own, self.head3):
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    def residuals(self, degraded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (first, last, fused) residuals at half resolution, colours behind one another.

        Args:
            degraded: (B, 3, H, W), sides multiples of `alignment`.
        """
        maps = F.relu(self.enter(F.pixel_unshuffle(degraded, SHUFFLE)), inplace=True)
        skips = []
        for block, stitch, narrow in zip(self.down, self.stitch_down, self.narrow, strict=False):
            maps = stitch(block(maps))
            skips.append(maps)
            maps = F.relu(narrow(maps), inplace=True)
        for block in self.bottom:
            maps = block(maps)
        maps = self.stitch_down[-1](maps)
        first = maps
        for i in reversed(range(len(skips))):
            rise: BranchConv = self.rise[i]  # type: ignore[assignment]
            maps = rise.enlarged(maps) + skips[i]
            if i == 0:
                maps = maps + self.again(first)
            maps = self.stitch_up[i](self.up[i](maps))
            if i == 1:
                first = self.first.enlarged(maps)
        last = self.last(maps)
        h = F.relu(self.head1(torch.cat([last, maps], 1)), inplace=True)
        h = F.relu(self.head2(h), inplace=True)
        n = len(self.tasks)
        mean = sum(last.chunk(n, 1)[1:], start=last.chunk(n, 1)[0]) / n
        return first, last, self.head3(h) + mean

    def forward(
        self, degraded: Tensor, _stages: int | None = None, _recursions: int | None = None
    ) -> Outputs:
        """Return both estimates of every branch, and the fused picture.

        Args:
            degraded: (B, 3, H, W) RGB in [0, 1].
        """
        height, width = degraded.shape[2:]
        seen = pad_to_multiple(degraded, self.alignment)
        first, last, fused = (
            F.pixel_shuffle(r.float(), SHUFFLE)[:, :, :height, :width] for r in self.residuals(seen)
        )
        both = [[degraded + r for r in torch.split(x, 3, 1)] for x in (first, last)]
        return Outputs(tuple(zip(*both, strict=True)), degraded + fused)


def _make_stitch(config: NetworkConfig, channels: int) -> nn.Module:
    """Return a unit that joins the branches' maps, or leaves them alone."""
    settings, n = config.cross_stitch, len(config.tasks)
    if settings.kind == "off" or n == 1:
        return nn.Identity()
    kinds = {"fixed": FixedCrossStitch, "learned": LearnedCrossStitch}
    return kinds[settings.kind](n, channels, settings.a)


def alignment(config: NetworkConfig) -> int:
    """Return the number of pixels that sides and tile corners have to be multiples of."""
    return int(SHUFFLE * 2 ** (len(config.widths) - 1))


def radius(config: NetworkConfig) -> int:
    """Return how far a pixel can see, rounded up to the alignment.

    At scale k (1/2 is the first), in units of its own pixels: two blocks (the bottom: two too)
    reach 4, the strided convolution 1; at the first also enter, again or last, and the head.
    """
    reach = sum(SHUFFLE * 2**k * (4 + 1) for k in range(len(config.widths)))
    reach += SHUFFLE * (1 + 1 + 2 + 1)
    step = alignment(config)
    return int(-(-(reach + step) // step) * step)


def cmudrn_unet_macs(config: NetworkConfig) -> float:
    """Return multiply-adds a pixel at full resolution; stitches are not counted."""
    n, w, folded = len(config.tasks), config.widths, 3 * SHUFFLE**2
    area = [1 / (SHUFFLE * 2**k) ** 2 for k in range(len(w))]
    macs: float = 9 * folded * w[0] * n * area[0]
    for k, c in enumerate(w):
        macs += 2 * n * 2 * 9 * c * c * area[k]  # two blocks
    for k, (c, d) in enumerate(pairwise(w)):
        macs += n * (9 * c * d + 4 * c * d) * area[k + 1]
    macs += n * 9 * w[1] * 4 * folded * area[1] + n * 9 * 2 * w[0] * folded * area[0]
    return float(macs + (n * (folded + w[0]) * HEAD + 9 * HEAD * (HEAD + folded)) * area[0])
