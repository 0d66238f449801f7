"""The losses that the comparators' authors train with, but for terms that need trained weights.

TKL's second stage and HDCW-Net also compare features of a VGG network that was trained on ImageNet.
Those terms are left out: this project has no such weights. TKL's first stage needs teachers, whose
training its authors did not publish, and is left out too.

References:
    Chen et al., Learning Multiple Adverse Weather Removal via Two-stage Knowledge Learning and
    Multi-contrastive Regularization, CVPR 2022.
    Chen et al., ALL Snow Removed, ICCV 2021.
    Li et al., All-In-One Image Restoration for Unknown Corruption, CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cmudrn.networks.comparators.dual_tree import transform
from cmudrn.networks.comparators.harness import (
    AirNetTrainingOutputs,
    HdcwTrainingOutputs,
    seen_by_hdcwnet,
)
from cmudrn.networks.comparators.hdcwnet import HdcwOutputs, pack_coarse, pack_fine
from cmudrn.networks.comparators.ycrcb import to_ycrcb
from cmudrn.networks.config import LossConfig
from cmudrn.networks.drn import Outputs
from cmudrn.networks.losses import Loss, Supervision

WINDOW = 35
"""Side of the window of the contradict channel, pixels."""

CONTRAST = 0.1
"""Weight of AirNet's contrastive loss beside the pixels'."""


def wavelet_loss(made: HdcwOutputs, degraded: Tensor, clean: Tensor, *, slip: bool) -> Tensor:
    """Return how far HDCW-Net's six maps are from the coefficients of the clean pictures.

    Args:
        made: by the network.
        degraded: (B, 3, H, W) as the network saw it.
        clean: the clean pictures likewise.
        slip: as the authors' code does it: the coarse coefficients of the inner transform are
            compared with the degraded picture's, and the fine ones in another order of channels
            than the inverse transform reads. Without it, no loss means the clean picture.
    """
    outer = transform(clean)
    inner = transform(outer.low)
    last = transform(transform(degraded).low).coarse if slip else inner.coarse
    pack = pack_fine if slip else pack_coarse
    pairs = (
        (made.low1, outer.low),
        (made.fine1, pack(outer.fine)),
        (made.coarse1, pack_coarse(outer.coarse)),
        (made.low2, inner.low),
        (made.fine2, pack(inner.fine)),
        (made.coarse2, pack_coarse(last)),
    )
    costs = [((ours.float() - theirs).square() + 1e-6).mean() for ours, theirs in pairs]
    return torch.stack(costs).sum()


def contradict_channel(picture: Tensor) -> Tensor:
    """Return the greatest value around each pixel of the least of its channels, (B, 1, H, W)."""
    least = picture.amin(1, keepdim=True)
    return F.max_pool2d(least, WINDOW, stride=1, padding=WINDOW // 2)


def contradict_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Return HDCW-Net's contradict channel loss; 0.5 is the least."""
    difference = contradict_channel(restored) - contradict_channel(clean)
    return difference.abs().mean().sigmoid()


class AuthorsSupervision(Supervision):
    """A comparator's loss in the place of the paper's three supervisions.

    Args:
        config: `authors` says whose.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__(config)
        self.degraded = torch.empty(0)
        self.step: int | Tensor = 0

    def prepare(self, degraded: Tensor, step: int | Tensor) -> None:
        """Take note of what the next batch's pictures looked like, and of the step."""
        self.degraded, self.step = degraded, step

    def __call__(
        self, outputs: Outputs, clean: Tensor, belongs: Tensor, whole: Tensor | None = None
    ) -> Loss:
        """Return the batch's loss; see `Supervision`. It has no part for a branch.

        Args:
            outputs: what the network returned for the degraded pictures.
            clean: (B, 3, H, W) in [0, 1].
            belongs: (1, B) bool.
            whole: belongs for the whole batch, when this is one process's part of it.
        """
        pixels = (outputs.fused - clean).abs().mean()
        total = pixels
        if isinstance(outputs, HdcwTrainingOutputs):
            total = self._of_hdcwnet(outputs, clean)
        elif isinstance(outputs, AirNetTrainingOutputs):
            own = torch.zeros(len(clean), dtype=torch.long, device=clean.device)
            contrast = F.cross_entropy(outputs.logits, own)
            encoder_only = self.step < self.config.encoder_steps
            total = contrast + 0 * pixels if encoder_only else pixels + CONTRAST * contrast
        share = belongs.shape[1] / (belongs if whole is None else whole).shape[1]
        return Loss(total * share, {"authors": total.detach() * share})

    def _of_hdcwnet(self, outputs: HdcwTrainingOutputs, clean: Tensor) -> Tensor:
        slip = self.config.authors == "hdcwnet-slip"
        seen, wanted = seen_by_hdcwnet(self.degraded), seen_by_hdcwnet(clean)
        wavelets = wavelet_loss(outputs.made, seen, wanted, slip=slip)
        return 2 * wavelets + 2 * contradict_loss(to_ycrcb(outputs.fused), to_ycrcb(clean))
