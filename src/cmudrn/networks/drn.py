"""The Dual Recursive Network: one branch, recursing on its own estimate and on its features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cmudrn.errors import InvalidSettingError
from cmudrn.networks.winograd import Conv2d


@dataclass(frozen=True)
class Outputs:
    """What every network returns.

    Attributes:
        branches: for each branch the T stage estimates x^2 .. x^(T+1), each (B, 3, H, W).
        fused: (B, 3, H, W), the network's answer; a lone DRN's is its last estimate.
    """

    branches: tuple[tuple[Tensor, ...], ...]
    fused: Tensor

    def in_float32(self) -> Outputs:
        """Return the same in float32, which losses are computed in."""
        branches = tuple(tuple(x.float() for x in branch) for branch in self.branches)
        return replace(self, branches=branches, fused=self.fused.float())


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Return a size-preserving convolution with bias and zero padding."""
    return Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class ResidualBlock(nn.Module):
    """h + ReLU(conv_b(ReLU(conv_a(h)))), (B, C, H, W) to the same.

    The branch ends in its own ReLU, so features only grow; the ReLU that the authors' code has
    after the addition never changes anything, and is left out.

    References:
        Cai et al., Dual Recursive Network for Fast Image Deraining, ICIP 2019.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv_a = conv(features, features)
        self.conv_b = conv(features, features)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, shaped like h."""
        return h + F.relu(self.conv_b(F.relu(self.conv_a(h), inplace=True)), inplace=True)


class DRN(nn.Module):
    """One dual recursive network; every weight is shared by all stages and recursions.

        x^1 = y;  h = ReLU(conv_in[y, x^t]);  S times: two residual blocks;
        x^(t+1) = y + conv_out(h)                                              (paper, Eq. 2)

    Args:
        features: channels of the hidden maps; 16 in the paper.
        stages: T when a call does not say.
        recursions: S when a call does not say.
        shared_recursions: every recursion has the same two blocks; if not, S is fixed.
        relu_output: end in a ReLU, as the paper's text (not the authors' code) says.
        checkpoint_stages: recompute each stage in the backward pass to save memory.
    """

    def __init__(
        self,
        features: int = 16,
        stages: int = 7,
        recursions: int = 7,
        *,
        shared_recursions: bool = True,
        relu_output: bool = False,
        checkpoint_stages: bool = False,
    ) -> None:
        super().__init__()
        self.stages, self.recursions = stages, recursions
        self.relu_output, self.checkpoint_stages = relu_output, checkpoint_stages
        self.conv_in = conv(6, features)
        self.block1 = ResidualBlock(features)
        self.block2 = ResidualBlock(features)
        self.conv_out = conv(features, 3)
        self.later = nn.ModuleList(
            nn.ModuleDict({name: ResidualBlock(features) for name in ("block1", "block2")})
            for _ in range(0 if shared_recursions else recursions - 1)
        )

    def blocks(self, recursions: int) -> list[tuple[str, str]]:
        """Return the names of the two residual blocks of each recursion.

        Raises:
            InvalidSettingError: there are blocks for fewer recursions.
        """
        if self.later and recursions > len(self.later) + 1:
            raise InvalidSettingError(
                f"This network has weights for {len(self.later) + 1} recursions, not {recursions}."
            )
        own = ["", *(f"later.{number}." for number in range(len(self.later)))]
        prefixes = own[:recursions] if self.later else [""] * recursions
        return [(f"{prefix}block1", f"{prefix}block2") for prefix in prefixes]

    def stage_features(self, degraded: Tensor, estimate: Tensor) -> Tensor:
        """Return the features of a stage's start: the degraded image comes first."""
        return F.relu(self.conv_in(torch.cat([degraded, estimate], 1)), inplace=True)

    def stage_estimate(self, degraded: Tensor, h: Tensor) -> Tensor:
        """Return a stage's estimate from its features."""
        residual = self.conv_out(h)
        return degraded + (F.relu(residual) if self.relu_output else residual)

    def stage(self, degraded: Tensor, estimate: Tensor, recursions: int) -> Tensor:
        """Return x^(t+1) from x^t."""
        h = self.stage_features(degraded, estimate)
        for first, second in self.blocks(recursions):
            h = self.get_submodule(second)(self.get_submodule(first)(h))
        return self.stage_estimate(degraded, h)

    def forward(
        self, degraded: Tensor, stages: int | None = None, recursions: int | None = None
    ) -> Outputs:
        """Return every stage's estimate.

        Args:
            degraded: (B, 3, H, W) RGB in [0, 1].
            stages: T for this call.
            recursions: S for this call.
        """
        estimate, estimates = degraded, []
        for _ in range(stages or self.stages):
            estimate = recompute(
                self.stage,
                degraded,
                estimate,
                recursions or self.recursions,
                when=self.checkpoint_stages,
            )
            estimates.append(estimate)
        return Outputs((tuple(estimates),), estimate)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Return (B, C, H, W) with its last row and column repeated until both sides are multiples."""
    height, width = image.shape[2:]
    right, below = -width % multiple, -height % multiple
    return F.pad(image, (0, right, 0, below), mode="replicate") if right or below else image


def recompute(function: object, *inputs: object, when: bool) -> Tensor:
    """Return function(*inputs), its inner maps recomputed in the backward pass if `when`."""
    if when and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(function, *inputs, use_reentrant=False))
    return cast(Tensor, function(*inputs))  # type: ignore[operator]
