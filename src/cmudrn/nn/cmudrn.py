"""CMUDRN: several DRNs joined by cross-stitch units, merged by a fusion head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cmudrn.config import CrossStitchConfig, NetworkConfig
from cmudrn.nn.cross_stitch import FixedCrossStitch, LearnedCrossStitch, NoCrossStitch
from cmudrn.nn.drn import DRN, Outputs, conv, recompute
from cmudrn.nn.fusion import Fusion


def make_stitches(settings: CrossStitchConfig, branches: int, features: int) -> nn.ModuleDict:
    """Return one unit a position; positions that are not stitched get `NoCrossStitch`."""
    units: dict[str, nn.Module] = {}
    for position in ("in", "rb1", "rb2", "rec", "img"):
        if settings.kind == "off" or branches == 1 or position not in settings.positions:
            units[position] = NoCrossStitch()
        elif settings.kind == "fixed":
            units[position] = FixedCrossStitch(settings.a)
        else:
            channels = 3 if position == "img" else features
            units[position] = LearnedCrossStitch(branches, channels, settings.a)
    return nn.ModuleDict(units)


class CMUDRN(nn.Module):
    """Cross-stitched multi-task unified dual recursive network.

    Every branch sees the same degraded picture and recurses on its own estimate; after each
    stage's first convolution and each residual block the branches share their features.

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
        self.branches = nn.ModuleList(
            DRN(config.features, config.stages, config.recursions, text_literal=config.text_literal)
            for _ in config.tasks
        )
        self.stitches = make_stitches(config.cross_stitch, len(config.tasks), config.features)
        self.fusion = Fusion(
            len(config.tasks), config.features, config.fusion.kernel, skip=config.fusion.skip
        )

    def _stage(self, degraded: Tensor, recursions: int, *estimates: Tensor) -> Tensor:
        drns: Sequence[DRN] = list(self.branches)  # type: ignore[arg-type]
        stitch = self.stitches
        maps = stitch["in"]([d.enter(degraded, x) for d, x in zip(drns, estimates, strict=True)])
        for _ in range(recursions):
            maps = advance([d.block1 for d in drns], maps, stitch["rb1"])
            maps = advance([d.block2 for d in drns], maps, stitch["rb2"])
        maps = stitch["rec"](maps)
        return torch.stack(
            stitch["img"]([d.leave(degraded, h) for d, h in zip(drns, maps, strict=True)])
        )

    def forward(
        self, degraded: Tensor, stages: int | None = None, recursions: int | None = None
    ) -> Outputs:
        """Return every stage's estimate of every branch, and the fused picture.

        Args:
            degraded: (B, 3, H, W) RGB in [0, 1].
            stages: T for this call.
            recursions: S for this call.
        """
        estimates = [degraded] * len(self.tasks)
        history: list[list[Tensor]] = []
        for _ in range(stages or self.stages):
            stacked = recompute(
                self._stage,
                degraded,
                recursions or self.recursions,
                *estimates,
                when=self.checkpoint_stages,
            )
            estimates = list(stacked.unbind(0))
            history.append(estimates)
        return Outputs(tuple(zip(*history, strict=True)), self.fusion(estimates))


def advance(blocks: Sequence[nn.Module], maps: list[Tensor], unit: nn.Module) -> list[Tensor]:
    """Return the stitched outputs of one residual block a branch.

    After a stitch with a = 0.5 all branches hold one map h, and the stitched outputs are
    h + the mean of the blocks' increments: half the passes over memory, which is what takes time.
    """
    if isinstance(unit, FixedCrossStitch) and unit.averages(len(maps)) and _are_one(maps):
        increments = [b.increment(maps[0]) for b in blocks]  # type: ignore[operator]
        total = sum(increments[1:], start=increments[0])
        return [torch.add(maps[0], total, alpha=1 / len(maps))] * len(maps)
    stitched: list[Tensor] = unit([b(h) for b, h in zip(blocks, maps, strict=True)])
    return stitched


def _are_one(maps: Sequence[Tensor]) -> bool:
    return all(h is maps[0] for h in maps)


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
