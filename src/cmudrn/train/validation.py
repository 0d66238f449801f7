"""Scores of a live network on pictures it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmudrn.image import Image, read_image
from cmudrn.train.sources import list_pictures
from cmudrn.weather.patches import PatchWeather

SIZE = 128
SEED = 1_000_003
"""Another seed than any training patch has; the same for every model, so that runs compare."""


class Validation:
    """Mean PSNR on the middle of each validation picture, for each weather family.

    Args:
        folder: clean pictures.
        families: weather families; "clear" leaves the pictures clean.
        weather: renders them.

    Raises:
        CmudrnError: the folder has no pictures.
    """

    def __init__(self, folder: Path, families: list[str], weather: PatchWeather) -> None:
        clean = [_middle(read_image(path)) for path in list_pictures(folder)]
        self.clean = _batch(clean)
        self.degraded: dict[str, Tensor] = {}
        for family in families:
            pictures = clean
            if family != "clear":
                pictures = [
                    weather.degrade(c, np.random.default_rng([SEED, i]), family)
                    for i, c in enumerate(clean)
                ]
            self.degraded[family] = _batch(pictures)

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return {family: mean PSNR in dB of the clipped RGB output, peak 1}."""
        device = next(network.parameters()).device
        scores = {}
        for family, degraded in self.degraded.items():
            fused = torch.cat([network(d.to(device)).fused.cpu() for d in torch.split(degraded, 4)])
            error = (fused.clamp(0, 1) - self.clean).square().mean((1, 2, 3))
            scores[family] = float((-10 * error.clamp_min(1e-10).log10()).mean())
        return scores


def _middle(image: Image) -> Image:
    top, left = ((side - SIZE) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + SIZE, left : left + SIZE])


def _batch(images: list[Image]) -> Tensor:
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.contiguous(memory_format=torch.channels_last)
