"""Training patches of all weathers over photographs of several folders, as cameras give them."""

from __future__ import annotations

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.training.config import DataConfig
from cmudrn.training.data.camera import take_picture
from cmudrn.training.data.clean_patches import CleanPictures, Patch
from cmudrn.weather.haze import Veil
from cmudrn.weather.patches import PatchWeather
from cmudrn.weather.wider import WIDER

DARK = 0.2
"""Share of the patches that are made a dusk or a night, before the weather."""
MIST = 0.06
"""Share of the patches in a mist that belongs to the scene and is to stay."""
LOCAL = 0.2
"""Share of the patches in which the weather falls in a part only."""
HELD = 0.15
"""Share of the patches whose weather is reduced in strength."""
SCENE_ROWS = 480


class WideScenes:
    """Clean patches of several folders, and every weather by name.

    Args:
        config: folders, reductions and how patches are varied.
        seed: of the cached rain screens.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.camera, self.overexposed = config.camera, config.overexposed
        self.folders = [
            CleanPictures.of(config, folder) for folder in (str(config.clean), *config.also_clean)
        ]
        self.weather = PatchWeather(seed)

    def draw(self, size: int, rng: np.random.Generator) -> Patch:
        """Return a clean patch, some of them dark, overexposed or in a mist of their own."""
        clean = self.folders[int(rng.integers(len(self.folders)))].draw(size, rng)
        if rng.random() < DARK:
            gamma, level = rng.uniform(1.0, 2.2), rng.uniform(0.2, 0.9)
            clean = np.float32(level) * clean ** np.float32(gamma)
        elif self.overexposed and rng.random() < self.overexposed / (1 - DARK):  # of all patches
            clean = np.clip(np.float32(rng.uniform(1.2, 3)) * clean, 0, 1)
        if rng.random() < MIST:
            veil = Veil((0.3, 0.95), (0.5, 0.95), rows=SCENE_ROWS)
            clean = veil.haze((size, size), rng).composite(clean)
        return np.ascontiguousarray(np.clip(clean, 0, 1).astype(np.float32))

    def degrade(self, clean: Patch, family: str, rng: np.random.Generator) -> Patch:
        """Return a patch in a weather, "clear" leaves it."""
        if family == "clear":
            return clean
        if family in WIDER:
            return WIDER[family](clean, rng).degraded
        return self.weather.degrade(clean, rng, family)


class WidePatches:
    """Patches of one weather family: local or everywhere, then under one camera's faults."""

    def __init__(self, scenes: WideScenes, family: str) -> None:
        known = ("clear", *scenes.weather.weathers)
        if family not in known:
            raise CmudrnError(f"There is no weather {family!r}; there are {', '.join(known)}.")
        self.scenes, self.family = scenes, family

    def __call__(self, size: int, rng: np.random.Generator) -> tuple[Patch, Patch]:
        """Return (degraded, clean)."""
        clean = self.scenes.draw(size, rng)
        degraded = self.scenes.degrade(clean, self.family, rng)
        if rng.random() < LOCAL:
            degraded = clean + ramp(size, rng)[..., None] * (degraded - clean)
        if rng.random() < HELD:
            degraded = clean + np.float32(rng.uniform(0.2, 0.9)) * (degraded - clean)
        if rng.random() < self.scenes.camera:
            degraded, clean = take_picture([degraded, clean], rng)
        if rng.random() < 0.7:  # files hold 8 bits
            degraded, clean = (to_8_bit(p) for p in (degraded, clean))
        return np.ascontiguousarray(degraded, np.float32), np.ascontiguousarray(clean, np.float32)


def to_8_bit(patch: Patch) -> Patch:
    """Return a patch with its values rounded to those of 8 bits."""
    rounded: Patch = (np.rint(patch * 255) / np.float32(255)).astype(np.float32)
    return rounded


def ramp(size: int, rng: np.random.Generator) -> Patch:
    """Return (size, size) weights from 0 to 1 over an edge of any place, direction and width."""
    angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8)
    width = float(np.exp(rng.uniform(np.log(0.01), np.log(0.5)))) * size
    line = np.arange(size, dtype=np.float32) - size / 2
    across = np.float32(np.cos(angle)) * line[:, None] + np.float32(np.sin(angle)) * line
    weights: Patch = np.clip((across + np.float32((place - 0.5) * size)) / np.float32(width), 0, 1)
    return weights
