"""Modulated deformable convolution in plain torch: no compiled operator is needed."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = 9


STRIP = 8192
"""Pixels that are sampled at once: memory that small is used again instead of asked for anew."""


def deformable_conv(maps: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return a 3x3 convolution whose nine samples are moved and weighed at every pixel.

    Args:
        maps: (B, C, H, W).
        offsets: (B, 18, H, W); channels 2k and 2k + 1 are how far, in pixels down and to the
            right, tap k (row by row) is moved.
        mask: (B, 9, H, W), the factor of each tap.
        weight: (C', C, 3, 3).

    Returns:
        (B, C', H, W). Between pixels is bilinear, every pixel outside counts as 0.

    References:
        Zhu et al., Deformable ConvNets v2, CVPR 2019.
    """
    height, width = maps.shape[2:]
    rows = torch.arange(height, dtype=maps.dtype, device=maps.device)[:, None]
    step = max(1, STRIP // width)
    places = [slice(top, top + step) for top in range(0, height, step)]
    strips = [_strip(maps, rows[p], offsets[:, :, p], mask[:, :, p], weight) for p in places]
    return torch.cat(strips, 2)


def _strip(maps: Tensor, rows: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return some rows of the result; offsets and mask are theirs, maps are whole."""
    height, width = maps.shape[2:]
    columns = torch.arange(width, dtype=maps.dtype, device=maps.device)
    total = maps.new_zeros(len(maps), len(weight), len(rows), width)
    for tap in range(TAPS):
        down, right = tap // 3 - 1, tap % 3 - 1
        y = rows + down + offsets[:, 2 * tap]
        x = columns + right + offsets[:, 2 * tap + 1]
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        sampled = F.grid_sample(maps, grid, "bilinear", "zeros", align_corners=False)
        kernel = weight[:, :, down + 1, right + 1, None, None]
        total = total + F.conv2d(sampled * mask[:, tap : tap + 1], kernel)
    return total


class GuidedDeformableConv(nn.Module):
    """Deformable convolution of maps, moved as a second map says; both (B, C, H, W).

    The convolution that makes offsets and mask starts at zero: nothing is moved, every tap counts
    half.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.conv_offset_mask = nn.Conv2d(2 * channels, 3 * TAPS, 3, padding=1)
        bound = 1 / math.sqrt(TAPS * channels)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(cast(Tensor, self.conv_offset_mask.bias))

    def forward(self, maps: Tensor, guide: Tensor) -> Tensor:
        """Return the convolved maps, (B, C, H, W)."""
        asked = self.conv_offset_mask(torch.cat([maps, guide], 1))
        offsets, mask = asked.split([2 * TAPS, TAPS], 1)
        return deformable_conv(maps, offsets, mask.sigmoid(), self.weight)
