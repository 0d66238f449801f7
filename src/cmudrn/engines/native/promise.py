"""Whether bfloat16 keeps its quality promise on a model."""

from __future__ import annotations

import numpy as np

from cmudrn.engines.engine import Batch
from cmudrn.engines.native.engine import NativeEngine

PROMISED_DB = 55.0
"""PSNR that bfloat16 keeps against float32; the paper's models differ by several dB in a score."""
PROMISED_LOSS_DB = 0.02
"""PSNR against the clean picture that bfloat16 loses at most, where there is much to restore."""


def trial_picture(height: int = 72, width: int = 104) -> Batch:
    """Return (1, 3, height, width) in [0, 1]: soft shading, an edge, fine grain, bright streaks."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shading = 0.45 + 0.25 * np.sin(x / 19) * np.cos(y / 13) - 0.2 * (x > 2 * width / 3)
    grain = np.random.default_rng(0).normal(0, 0.02, (3, height, width))
    streaks = 0.35 * ((x + y // 4) % 17 < 1)
    picture = shading * np.array([1.0, 0.9, 0.75])[:, None, None] + grain + streaks
    batch: Batch = picture.clip(0, 1).astype(np.float32)[None]
    return batch


def in_dense_rain(picture: Batch) -> Batch:
    """Return (1, 3, H, W) buried in rain, where a network changes most and so rounds most."""
    rng = np.random.default_rng(1)
    height, width = picture.shape[2:]
    rain = np.zeros((height, width), np.float32)
    for _ in range(height * width // 40):
        top, left, light = rng.integers(-20, height), rng.integers(width), rng.uniform(0.05, 0.3)
        rain[max(top, 0) : max(top + 24, 0), left : left + 2] += np.float32(light)
    return (picture + rain).clip(0, 1)


def keeps_promise(exact: NativeEngine, rounded: NativeEngine) -> bool:
    """Return whether an engine's answers are `PROMISED_DB` near to the exact ones, and as good.

    Near is measured on `trial_picture`, of which little is to be changed; as good, to
    `PROMISED_LOSS_DB`, on the same in dense rain, where the exact answers are far from the clean
    picture themselves. At the model's own depth; takes some milliseconds.
    """
    clean = trial_picture()
    rainy = in_dense_rain(clean)
    near = _psnr(rounded(clean).restored, exact(clean).restored)
    lost = _psnr(exact(rainy).restored, clean) - _psnr(rounded(rainy).restored, clean)
    return near >= PROMISED_DB and lost <= PROMISED_LOSS_DB


def _psnr(picture: Batch, reference: Batch) -> float:
    apart = picture.clip(0, 1) - reference.clip(0, 1)
    return float(-10 * np.log10(np.mean(np.square(apart, dtype=np.float64)) + 1e-20))
