"""Cross-stitch units: how the branches share their features.

The branches' maps lie behind one another in one tensor, (B, N C, H, W) for N branches of C
channels, so that a unit is one 1x1 convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.networks.winograd import stitch


def mix(maps: Tensor, matrix: Tensor) -> Tensor:
    """Return h_i' = sum_j matrix[i, j] h_j in every channel.

    Args:
        maps: (B, N C, H, W).
        matrix: (N, N, C).
    """
    stitched = stitch(maps, matrix)
    if stitched is not None:
        return stitched
    branches, _, channels = matrix.shape
    kernel = matrix.diag_embed().permute(0, 2, 1, 3)  # (N, C, N, C)
    size = branches * channels
    return F.conv2d(maps, kernel.reshape(size, size, 1, 1))


def even_matrix(branches: int, channels: int, a: float) -> Tensor:
    """Return (N, N, C) weights: a for a branch's own map, the others share 1 - a."""
    matrix = torch.full((branches, branches), (1 - a) / (branches - 1))
    return matrix.fill_diagonal_(a)[:, :, None].repeat(1, 1, channels)


class FixedCrossStitch(nn.Module):
    """h_i' = a h_i + (1 - a) times the mean of the other branches' maps; nothing to learn.

    The paper's Eq. 1 defines one output map, W = a W_A + (1 - a) W_B; both branches need one, so
    the pair is taken symmetrically. With two branches and a = 0.5 they leave the unit identical.

    Args:
        branches: how many maps it joins, N.
        channels: C of each map.
        a: weight of a branch's own map.

    References:
        CMUDRN paper, Eq. 1, and Misra et al., Cross-stitch Networks, CVPR 2016.
    """

    def __init__(self, branches: int, channels: int, a: float) -> None:
        super().__init__()
        self.matrix: Tensor
        self.register_buffer("matrix", even_matrix(branches, channels, a), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the stitched maps, (B, N C, H, W) as they came."""
        return mix(maps, self.matrix)


class LearnedCrossStitch(nn.Module):
    """h_i' = sum_j matrix[i, j] h_j with one matrix for each channel, learned.

    Args:
        branches: how many maps it joins, N.
        channels: C of each map.
        a: start value of matrix[i, i]; the rest of each row shares 1 - a.

    References:
        Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016.
    """

    def __init__(self, branches: int, channels: int, a: float) -> None:
        super().__init__()
        self.matrix = nn.Parameter(even_matrix(branches, channels, a))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the stitched maps, (B, N C, H, W) as they came."""
        return mix(maps, self.matrix)
