"""The fusion head: one picture from the branches' estimates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.networks.drn import conv


class Fusion(nn.Module):
    """conv3(ReLU(conv2(ReLU(conv1(concat of the estimates))))), widths 3 N -> 16 -> 16 -> 3.

    Args:
        branches: N, how many estimates it merges.
        features: width of the two hidden maps.
        kernel: side of the convolutions; not stated in the paper.
        skip: add the mean of the estimates; not in the paper, which learns the identity.

    References:
        CMUDRN paper, Eq. 10 and Sec. VI (concatenation, where Eq. 9 prints a sum).
    """

    def __init__(
        self, branches: int = 2, features: int = 16, kernel: int = 3, *, skip: bool = False
    ) -> None:
        super().__init__()
        self.skip = skip
        self.conv1 = conv(3 * branches, features, kernel)
        self.conv2 = conv(features, features, kernel)
        self.conv3 = conv(features, 3, kernel)

    def forward(self, estimates: Sequence[Tensor]) -> Tensor:
        """Return (B, 3, H, W) from N estimates of that shape."""
        h = F.relu(self.conv1(torch.cat(list(estimates), 1)))
        fused: Tensor = self.conv3(F.relu(self.conv2(h)))
        if self.skip:
            fused = fused + sum(estimates[1:], start=estimates[0]) / len(estimates)
        return fused
