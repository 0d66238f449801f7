"""Scores of a live network on pictures it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmudrn.image import Image, read_image
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.training.data.views import View, view_structure

SEED = 1_000_003
"""Another seed than any training patch has; the same for every model, so that runs compare."""
STRUCTURES = "structures"
"""The family of views without weather on which something built is drawn."""


class Validation:
    """Mean PSNR on a view of each validation picture, for each weather family.

    Args:
        folder: clean pictures.
        families: weather families; "clear" leaves the pictures clean, "structures" too, but
            draws fences, frames, letters and the like over them.
        view: what the network sees of a picture, of one size for all pictures.

    Raises:
        CmudrnError: the folder has no pictures.
    """

    def __init__(self, folder: Path, families: Sequence[str], view: View) -> None:
        pictures = [read_image(path) for path in list_pictures(folder)]
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for family in families:
            view_family = view_structure(view) if family == STRUCTURES else view
            shown = [
                view_family(picture, family, np.random.default_rng([SEED, i]))
                for i, picture in enumerate(pictures)
            ]
            degraded, clean = (_batch([pair[k] for pair in shown]) for k in (0, 1))
            self.pairs[family] = degraded, clean

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return {family: mean PSNR in dB of the clipped RGB output, peak 1}."""
        device = next(network.parameters()).device
        scores = {}
        for family, (degraded, clean) in self.pairs.items():
            fused = torch.cat([network(d.to(device)).fused.cpu() for d in torch.split(degraded, 4)])
            error = (fused.clamp(0, 1) - clean).square().mean((1, 2, 3))
            scores[family] = float((-10 * error.clamp_min(1e-10).log10()).mean())
        return scores


def _batch(images: list[Image]) -> Tensor:
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.contiguous(memory_format=torch.channels_last)
