"""PRN and PReNet: one small residual network, run again and again on its own result.

Written from the paper; names of the weights are the authors', so that their files fit.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = 5
"""Residual blocks of a stage."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _gate(channels: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(_conv(2 * channels, channels), activation)


class PReNet(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] to the same, of any size, not clipped.

    Every stage sees the degraded picture and the last stage's estimate; what its last convolution
    makes is added to the degraded picture.

    Args:
        channels: of the hidden maps; 32 in the paper.
        stages: how often it runs; 6 in the paper.
        recurrent: whether stages hand on memory by a convolutional LSTM (PReNet) or not (PRN).
        shared: whether the five residual blocks of a stage are one (PReNet_r, PRN_r).

    References:
        Ren et al., Progressive Image Deraining Networks: A Better and Simpler Baseline, CVPR 2019.
    """

    def __init__(
        self,
        channels: int = 32,
        stages: int = 6,
        *,
        recurrent: bool = True,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.stages, self.recurrent = stages, recurrent
        self.conv0 = nn.Sequential(_conv(6, channels), nn.ReLU())
        if recurrent:
            self.conv_i = _gate(channels, nn.Sigmoid())
            self.conv_f = _gate(channels, nn.Sigmoid())
            self.conv_g = _gate(channels, nn.Tanh())
            self.conv_o = _gate(channels, nn.Sigmoid())
        self._order = [f"res_conv{1 if shared else i + 1}" for i in range(BLOCKS)]
        for name in dict.fromkeys(self._order):
            block = [_conv(channels, channels), nn.ReLU(), _conv(channels, channels), nn.ReLU()]
            self.add_module(name, nn.Sequential(*block))
        self.conv = nn.Sequential(_conv(channels, 3))

    def _remember(self, maps: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the LSTM's next hidden maps and cells."""
        seen = torch.cat([maps, hidden], 1)
        cell = self.conv_f(seen) * cell + self.conv_i(seen) * self.conv_g(seen)
        return self.conv_o(seen) * torch.tanh(cell), cell

    def run(self, degraded: Tensor, stages: int | None = None) -> list[Tensor]:
        """Return every stage's estimate.

        Args:
            degraded: (B, 3, H, W).
            stages: how many; None is the network's own number.
        """
        estimate, estimates = degraded, []
        hidden = cell = degraded.new_zeros(())
        for stage in range(stages or self.stages):
            maps = self.conv0(torch.cat([degraded, estimate], 1))
            if self.recurrent:
                if not stage:
                    hidden = cell = torch.zeros_like(maps)
                hidden, cell = self._remember(maps, hidden, cell)
                maps = hidden
            for name in self._order:
                maps = F.relu(self.get_submodule(name)(maps) + maps)
            estimate = degraded + cast(Tensor, self.conv(maps))
            estimates.append(estimate)
        return estimates

    def forward(self, degraded: Tensor) -> Tensor:
        """Return the last stage's estimate, (B, 3, H, W)."""
        return self.run(degraded)[-1]
