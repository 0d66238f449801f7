"""Scores of a live network on pictures it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmudrn.image import Image, read_image
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.training.data.synthetic_structures import composite_structure
from cmudrn.weather.patches import PatchWeather

SIZE = 128
SEED = 1_000_003
"""Another seed than any training patch has; the same for every model, so that runs compare."""
STRUCTURES = "structures"
"""The family of views without weather on which something built is drawn."""

Show = Callable[[Image, str, np.random.Generator], tuple[Image, Image]]
"""(clean picture, weather family, random numbers) -> (what the network sees, what it should be)."""


class Validation:
    """Mean PSNR on a view of each validation picture, for each weather family.

    Args:
        folder: clean pictures.
        families: weather families; "clear" leaves the pictures clean, "structures" too, but
            draws fences, frames, letters and the like over them.
        show: returns the view, of one size for all pictures.

    Raises:
        CmudrnError: the folder has no pictures.
    """

    def __init__(self, folder: Path, families: Sequence[str], show: Show) -> None:
        pictures = [read_image(path) for path in list_pictures(folder)]
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        for family in families:
            view = show_structure(show) if family == STRUCTURES else show
            shown = [
                view(picture, family, np.random.default_rng([SEED, i]))
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


def show_middle(weather: PatchWeather) -> Show:
    """Return the view of a picture's middle in weather."""

    def show(picture: Image, family: str, rng: np.random.Generator) -> tuple[Image, Image]:
        clean = np.ascontiguousarray(picture[middle(picture.shape)])
        if family == "clear":
            return clean, clean
        return weather.degrade(clean, rng, family), clean

    return show


def show_structure(show: Show) -> Show:
    """Return the view of a clean picture with a structure over it, which is to be kept."""

    def show_built(picture: Image, _: str, rng: np.random.Generator) -> tuple[Image, Image]:
        built = composite_structure(show(picture, "clear", rng)[1], rng)
        return built, built

    return show_built


def middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the SIZE x SIZE window in the middle of a picture."""
    top, left = ((side - SIZE) // 2 for side in shape[:2])
    return slice(top, top + SIZE), slice(left, left + SIZE)


def _batch(images: list[Image]) -> Tensor:
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return stacked.contiguous(memory_format=torch.channels_last)
