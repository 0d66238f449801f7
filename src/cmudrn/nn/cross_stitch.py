"""Cross-stitch units: how the branches share their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FixedCrossStitch(nn.Module):
    """h_i' = a h_i + (1 - a) times the mean of the other branches' maps; nothing to learn.

    The paper's Eq. 1 defines one output map, W = a W_A + (1 - a) W_B; both branches need one, so
    the pair is taken symmetrically. With two branches and a = 0.5 they leave the unit identical.

    References:
        CMUDRN paper, Eq. 1, and Misra et al., Cross-stitch Networks, CVPR 2016.
    """

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = a

    def averages(self, branches: int) -> bool:
        """Return whether every one of so many branches gets the plain mean."""
        return abs(self.a * (branches - 1) - (1 - self.a)) < 1e-12

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one stitched map for each branch's map, shapes unchanged."""
        others = len(maps) - 1
        if self.averages(len(maps)):
            mean = torch.stack(list(maps)).mean(0) if others > 1 else 0.5 * (maps[0] + maps[1])
            return [mean] * len(maps)
        total = sum(maps[1:], start=maps[0])
        share = (1 - self.a) / others
        return [self.a * h + share * (total - h) for h in maps]


class LearnedCrossStitch(nn.Module):
    """h_i' = sum_j matrix[i, j] h_j with one matrix for each channel, learned.

    Args:
        branches: how many maps it joins, N.
        features: channels C of each map.
        a: start value of matrix[i, i]; the rest of each row shares 1 - a.

    References:
        Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016.
    """

    def __init__(self, branches: int, features: int, a: float) -> None:
        super().__init__()
        start = torch.full((branches, branches), (1 - a) / (branches - 1))
        start.fill_diagonal_(a)
        self.matrix = nn.Parameter(start[:, :, None].repeat(1, 1, features))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return one stitched map for each branch's map, shapes unchanged."""
        weights = self.matrix[:, :, None, :, None, None]  # (N, N, 1, C, 1, 1)
        zero = torch.zeros_like(maps[0])
        return [sum((w * h for w, h in zip(row, maps, strict=True)), start=zero) for row in weights]


class NoCrossStitch(nn.Module):
    """Leaves every branch alone: the paper's ablation without cross-stitch."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps as they are."""
        return list(maps)
