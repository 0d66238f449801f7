"""Local, recurrence and global supervision, every ambiguity of the paper a setting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cmudrn.networks.config import LossConfig, TermConfig
from cmudrn.networks.drn import Outputs
from cmudrn.networks.ssim import ssim

CHARBONNIER_EPSILON = 1e-3
FROBENIUS_EPSILON = 1e-12
"""Keeps the gradient of the unsquared norm finite where estimate and clean picture agree."""


@dataclass(frozen=True)
class Loss:
    """What a batch costs.

    Attributes:
        total: scalar to minimise.
        terms: "local", "recurrence", "global" -> the scalar's parts, weighted, detached.
    """

    total: Tensor
    terms: dict[str, Tensor]


def distance(estimate: Tensor, clean: Tensor, term: TermConfig) -> Tensor:
    """Return the pixel distance of each picture, shape (B,).

    Args:
        estimate: (B, 3, H, W).
        clean: (B, 3, H, W) in [0, 1].
        term: which norm, squared or not, summed or averaged over the picture's values.
    """
    error = (estimate - clean).flatten(1)
    if term.distance == "charbonnier":
        return (error.square() + CHARBONNIER_EPSILON**2).sqrt().mean(1)
    if term.distance == "psnr":
        floor = 10 ** (-term.floor_db / 10)
        return 0.1 * (1 + error.square().mean(1) / floor).log10()
    squares = error.square().sum(1) if term.reduction == "sum" else error.square().mean(1)
    return squares if term.squared else (squares + FROBENIUS_EPSILON).sqrt()


def supervise(estimate: Tensor, clean: Tensor, term: TermConfig, padding: str) -> Tensor:
    """Return ssim * (1 - SSIM) + pixel * distance of each picture, shape (B,).

    References:
        CMUDRN paper, Eqs. 4 (local), 6 (global), 8 (recurrence); 1 - SSIM for its -SSIM.
    """
    cost = torch.zeros(len(estimate), dtype=estimate.dtype, device=estimate.device)
    if term.ssim:
        cost = cost + term.ssim * (1 - ssim(estimate, clean, padding))  # type: ignore[arg-type]
    if term.pixel:
        cost = cost + term.pixel * distance(estimate, clean, term)
    return cost


class Supervision:
    """The paper's three supervisions over one batch.

    Each branch is held to the pictures of its own task only; the fused output to all. Sums over
    pictures are divided by how many pictures of the *whole* batch they could run over, so that
    the parts of a batch spread over processes add up to the loss of the undivided batch.

    Args:
        config: weights and norms.

    Attributes:
        static_shapes: whether the cost of every picture is worked out for every branch and then
            masked, so that no shape depends on the batch. The loss is the same up to rounding.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self.static_shapes = False

    def prepare(self, degraded: Tensor, step: int | Tensor) -> None:
        """Take note of what the next batch's pictures looked like, and of the step.

        Args:
            degraded: (B, 3, H, W).
            step: steps done; a scalar tensor where the batch's computation is recorded.
        """

    def __call__(
        self, outputs: Outputs, clean: Tensor, belongs: Tensor, whole: Tensor | None = None
    ) -> Loss:
        """Return the batch's loss.

        Args:
            outputs: what the network returned for the degraded pictures.
            clean: (B, 3, H, W) in [0, 1].
            belongs: (branches, B) bool, whether a picture supervises a branch.
            whole: belongs for the whole batch, when this is one process's part of it.
        """
        whole = belongs if whole is None else whole
        terms = {
            "local": self._local(outputs, clean, belongs, whole),
            "recurrence": self._recurrence(outputs, clean, belongs, whole),
            "global": self._global(outputs, clean, whole),
        }
        total = torch.stack(list(terms.values())).sum()
        return Loss(total, {name: value.detach() for name, value in terms.items()})

    def _local(self, outputs: Outputs, clean: Tensor, belongs: Tensor, whole: Tensor) -> Tensor:
        total = clean.new_zeros(())
        for branch, mine, all_ in zip(outputs.branches, belongs, whole, strict=True):
            total = total + self._masked(branch[-1], clean, mine, all_, self.config.local)
        return total

    def _recurrence(
        self, outputs: Outputs, clean: Tensor, belongs: Tensor, whole: Tensor
    ) -> Tensor:
        total = clean.new_zeros(())
        for branch, mine, all_ in zip(outputs.branches, belongs, whole, strict=True):
            for stage, estimate in enumerate(branch, start=1):
                weight = 0.1 * stage if self.config.stage_weights == "linear" else 1.0
                total = total + weight * self._masked(
                    estimate, clean, mine, all_, self.config.recurrence
                )
        return total

    def _global(self, outputs: Outputs, clean: Tensor, whole: Tensor) -> Tensor:
        everyone = torch.ones(len(clean), dtype=torch.bool, device=clean.device)
        every = torch.ones(whole.shape[1], dtype=torch.bool, device=clean.device)
        return self._masked(outputs.fused, clean, everyone, every, self.config.global_)

    def _masked(
        self, estimate: Tensor, clean: Tensor, mine: Tensor, all_: Tensor, term: TermConfig
    ) -> Tensor:
        if term.weight != 0 and self.static_shapes:
            cost = supervise(estimate, clean, term, self.config.ssim_padding)
            return term.weight * (cost * mine).sum() / all_.sum().clamp(min=1)
        if term.weight == 0 or not bool(mine.any()):
            return estimate.sum() * 0.0  # keeps every parameter in the graph
        cost = supervise(estimate[mine], clean[mine], term, self.config.ssim_padding)
        return term.weight * cost.sum() / int(all_.sum())
