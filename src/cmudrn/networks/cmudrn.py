"""CMUDRN: several DRNs joined by cross-stitch units, merged by a fusion head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmudrn.errors import InvalidSettingError
from cmudrn.networks.config import CrossStitchConfig, NetworkConfig
from cmudrn.networks.cross_stitch import FixedCrossStitch, LearnedCrossStitch
from cmudrn.networks.drn import DRN, Outputs, conv, pad_to_multiple, recompute
from cmudrn.networks.fusion import Fusion
from cmudrn.networks.winograd import convolve


def make_stitches(settings: CrossStitchConfig, branches: int, features: int) -> nn.ModuleDict:
    """Return one unit a position; where nothing is stitched, one that leaves the maps alone."""
    kinds = {"fixed": FixedCrossStitch, "learned": LearnedCrossStitch}
    units: dict[str, nn.Module] = {}
    for position in ("in", "rb1", "rb2", "rec", "img"):
        if settings.kind == "off" or branches == 1 or position not in settings.positions:
            units[position] = nn.Identity()
        else:
            channels = 3 if position == "img" else features
            units[position] = kinds[settings.kind](branches, channels, settings.a)
    return nn.ModuleDict(units)


class CMUDRN(nn.Module):
    """Cross-stitched multi-task unified dual recursive network.

    Every branch sees the same degraded picture and recurses on its own estimate; after each
    stage's first convolution and each residual block the branches share their features.

    The branches run side by side: their maps lie behind one another in one tensor, and the
    convolutions of the same place are one convolution in groups. That halves the passes over
    memory, which is what small patches spend their time on.

    Args:
        config: tasks, features, default stages and recursions, stitches, fusion.
        checkpoint_stages: recompute each stage in the backward pass to save memory.

    References:
        CMUDRN paper (arXiv 2211.08290), Secs. III and IV, Eqs. 1, 2, 9, 10.
    """

    def __init__(self, config: NetworkConfig, *, checkpoint_stages: bool = False) -> None:
        super().__init__()
        self.stages, self.recursions = config.stages, config.recursions
        self.tasks, self.checkpoint_stages = config.tasks, checkpoint_stages
        self.relu_output = config.relu_output
        self.branches = nn.ModuleList(
            DRN(
                config.features,
                config.stages,
                config.recursions,
                shared_recursions=config.shared_recursions,
            )
            for _ in config.tasks
        )
        self.reductions = config.stage_reductions
        self.stitches = make_stitches(config.cross_stitch, len(config.tasks), config.features)
        self.fusion = Fusion(
            len(config.tasks), config.features, config.fusion.kernel, skip=config.fusion.skip
        )

    def _conv(self, layer: str, maps: Tensor) -> Tensor:
        """Return maps, (B, N C, H, W), under every branch's own convolution of that name."""
        layers: list[nn.Conv2d] = [b.get_submodule(layer) for b in self.branches]  # type: ignore[misc]
        weights = [own.weight for own in layers]
        bias = torch.cat([own.bias for own in layers])  # type: ignore[misc]
        if maps.is_cuda:  # its kernels are faster at one convolution with zeros between branches
            return F.conv2d(maps, without_groups(weights), bias, padding=1)
        return convolve(maps, torch.cat(weights), bias, padding=1, groups=len(layers))

    def _block(self, block: str, maps: Tensor) -> Tensor:
        inner = F.relu(self._conv(f"{block}.conv_a", maps), inplace=True)
        return maps + F.relu(self._conv(f"{block}.conv_b", inner), inplace=True)

    def _stage(
        self, degraded: Tensor, recursions: int, reduction: int, estimates: Tensor
    ) -> Tensor:
        """Return the next estimates, (B, 3 N, H, W), from the last."""
        seen = torch.cat([p for x in torch.split(estimates, 3, 1) for p in (degraded, x)], 1)
        if reduction > 1:
            seen = F.avg_pool2d(seen, reduction)
        stitch = self.stitches
        maps = stitch["in"](F.relu(self._conv("conv_in", seen), inplace=True))
        branch: DRN = self.branches[0]  # type: ignore[assignment]
        for first, second in branch.blocks(recursions):
            maps = stitch["rb1"](self._block(first, maps))
            maps = stitch["rb2"](self._block(second, maps))
        residuals = self._conv("conv_out", stitch["rec"](maps))
        if self.relu_output:
            residuals = F.relu(residuals)
        if reduction > 1:
            residuals = F.interpolate(residuals, scale_factor=reduction, mode="bilinear")
        next_estimates: Tensor = stitch["img"](
            degraded.repeat(1, len(self.tasks), 1, 1) + residuals
        )
        return next_estimates

    def forward(
        self, degraded: Tensor, stages: int | None = None, recursions: int | None = None
    ) -> Outputs:
        """Return every stage's estimate of every branch, and the fused picture.

        Args:
            degraded: (B, 3, H, W) RGB in [0, 1].
            stages: T for this call.
            recursions: S for this call.

        Raises:
            InvalidSettingError: a network with weights for each recursion, or a reduction for each
                stage, does not take this depth.
        """
        height, width = degraded.shape[2:]
        if self.reductions and stages not in (None, self.stages):
            raise InvalidSettingError(f"This network has {self.stages} stages, not {stages}.")
        reductions = self.reductions or (1,) * (stages or self.stages)
        degraded = pad_to_multiple(degraded, math.lcm(*reductions))
        estimates = degraded.repeat(1, len(self.tasks), 1, 1)
        history: list[tuple[Tensor, ...]] = []
        for reduction in reductions:
            estimates = recompute(
                self._stage,
                degraded,
                recursions or self.recursions,
                reduction,
                estimates,
                when=self.checkpoint_stages,
            )
            history.append(torch.split(estimates, 3, 1))
        fused = self.fusion(history[-1])
        if degraded.shape[2:] != (height, width):
            fused = fused[..., :height, :width]
            history = [tuple(x[..., :height, :width] for x in stage) for stage in history]
        return Outputs(tuple(zip(*history, strict=True)), fused)


def without_groups(weights: list[Tensor]) -> Tensor:
    """Return (N D, N C, 3, 3) for one convolution that does what N of (D, C, 3, 3) do in groups."""
    count, inputs = len(weights), weights[0].shape[1]
    return torch.cat(
        [
            F.pad(weight, (0, 0, 0, 0, inputs * own, inputs * (count - 1 - own)))
            for own, weight in enumerate(weights)
        ]
    )


class SharedTrunk(nn.Module):
    """Hard parameter sharing, a control: one trunk, one output convolution for each task.

    Args:
        config: as for `CMUDRN`; cross_stitch has no meaning here.
        checkpoint_stages: recompute each stage in the backward pass to save memory.

    References:
        Caruana, Multitask Learning, 1997.
    """

    def __init__(self, config: NetworkConfig, *, checkpoint_stages: bool = False) -> None:
        super().__init__()
        self.stages, self.recursions = config.stages, config.recursions
        self.tasks, self.checkpoint_stages = config.tasks, checkpoint_stages
        trunk = DRN(config.features, config.stages, config.recursions)
        self.conv_in, self.block1, self.block2 = trunk.conv_in, trunk.block1, trunk.block2
        self.heads = nn.ModuleList(conv(config.features, 3) for _ in config.tasks)
        self.fusion = Fusion(
            len(config.tasks), config.features, config.fusion.kernel, skip=config.fusion.skip
        )

    def _stage(self, degraded: Tensor, recursions: int, estimate: Tensor) -> Tensor:
        h = torch.relu(self.conv_in(torch.cat([degraded, estimate], 1)))
        for _ in range(recursions):
            h = self.block2(self.block1(h))
        return torch.stack([degraded + head(h) for head in self.heads])

    def forward(
        self, degraded: Tensor, stages: int | None = None, recursions: int | None = None
    ) -> Outputs:
        """Return every stage's estimate of every head, and the fused picture, as `CMUDRN` does.

        The trunk recurses on the mean of the heads' estimates.
        """
        estimate, history = degraded, []
        for _ in range(stages or self.stages):
            stacked = recompute(
                self._stage,
                degraded,
                recursions or self.recursions,
                estimate,
                when=self.checkpoint_stages,
            )
            estimate = stacked.mean(0)
            history.append(list(stacked.unbind(0)))
        return Outputs(tuple(zip(*history, strict=True)), self.fusion(history[-1]))
