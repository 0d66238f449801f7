"""Supervision whose floor rises while a run is young, and that weighs untouched pixels more."""

from __future__ import annotations

import torch
from torch import Tensor

from cmudrn.networks.config import LossConfig, TermConfig
from cmudrn.networks.losses import Supervision, supervise

UNTOUCHED = 2 / 255
"""A pixel that the weather changed by at most this in every channel counts as left alone."""


class WeightedSupervision(Supervision):
    """Local, recurrence and global supervision by decibels, with two changes.

    The floor of the "psnr" distance moves from `opening_floor_db` to each term's `floor_db` over
    the first `opening_steps` steps: a high floor makes leaving every picture as it is a place
    from which a network hardly gets away. Squared errors at pixels that the weather left alone
    count `untouched` times.

    Args:
        config: weights, norms, floors.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__(config)
        self.step: int | Tensor = 0
        self.degraded: Tensor | None = None
        self.weights: Tensor | None = None
        self.errors: dict[int, Tensor] = {}

    def prepare(self, degraded: Tensor, step: int | Tensor) -> None:
        """Take note of what the next batch's pictures looked like, and of the step."""
        self.degraded, self.step = degraded, step
        self.weights, self.errors = None, {}

    def floor(self, term: TermConfig) -> float | Tensor:
        """Return the term's floor at this step, in mean squared error."""
        opened = self.step / max(1, self.config.opening_steps)
        opened = opened.clamp(max=1) if isinstance(opened, Tensor) else min(1.0, opened)
        start = self.config.opening_floor_db or term.floor_db
        floor: float | Tensor = 10 ** (-(start + (term.floor_db - start) * opened) / 10)
        return floor

    def _masked(
        self, estimate: Tensor, clean: Tensor, mine: Tensor, all_: Tensor, term: TermConfig
    ) -> Tensor:
        if term.weight == 0 or not (self.static_shapes or bool(mine.any())):
            return estimate.sum() * 0.0
        if self.degraded is None or term.distance != "psnr":
            return super()._masked(estimate, clean, mine, all_, term)
        if self.static_shapes:
            cost = self._cost(self._error(estimate, clean), estimate, clean, term)
            return term.weight * (cost * mine).sum() / all_.sum().clamp(min=1)
        cost = self._cost(self._error(estimate, clean)[mine], estimate[mine], clean[mine], term)
        return term.weight * cost.sum() / int(all_.sum())

    def _cost(self, error: Tensor, estimate: Tensor, clean: Tensor, term: TermConfig) -> Tensor:
        """Return what each picture costs, shape (B,), given its weighted mean squared error."""
        cost = term.pixel * 0.1 * (1 + error / self.floor(term)).log10()
        if term.ssim:
            whole = term.model_copy(update={"pixel": 0.0})
            cost = cost + supervise(estimate, clean, whole, self.config.ssim_padding)
        return cost

    def _error(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Return (B,) weighted mean squared errors; those of a batch are worked out once."""
        if self.weights is None:
            assert self.degraded is not None
            untouched = untouched_mask(self.degraded, clean)[:, None]
            self.weights = 1 + untouched * (self.config.untouched - 1.0)
        if id(estimate) not in self.errors:
            error = estimate - clean
            self.errors[id(estimate)] = (error * error * self.weights).mean((1, 2, 3))
        return self.errors[id(estimate)]


def untouched_mask(degraded: Tensor, clean: Tensor) -> Tensor:
    """Return (B, H, W) bool: pixels of which no channel changed by more than `UNTOUCHED`."""
    mask: Tensor = torch.as_tensor((degraded - clean).abs().amax(1) <= UNTOUCHED)
    return mask
