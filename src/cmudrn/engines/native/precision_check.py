"""Whether bfloat16 is near enough to float32 on a model."""

from __future__ import annotations

import numpy as np

from cmudrn.engines.base import Batch
from cmudrn.engines.native.engine import NativeEngine

MIN_PSNR_DB = 55.0
"""PSNR that bfloat16 keeps against float32; the paper's models differ by several dB in a score."""
MAX_LOSS_DB = 0.02
"""PSNR against the clean picture that bfloat16 loses at most, where there is much to restore."""
DRAWS = 8
"""Pictures in rain that the loss is averaged over."""


def trial_picture(height: int = 72, width: int = 104) -> Batch:
    """Return (1, 3, height, width) in [0, 1]: soft shading, an edge, fine grain, bright streaks."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shading = 0.45 + 0.25 * np.sin(x / 19) * np.cos(y / 13) - 0.2 * (x > 2 * width / 3)
    grain = np.random.default_rng(0).normal(0, 0.02, (3, height, width))
    streaks = 0.35 * ((x + y // 4) % 17 < 1)
    picture = shading * np.array([1.0, 0.9, 0.75])[:, None, None] + grain + streaks
    batch: Batch = picture.clip(0, 1).astype(np.float32)[None]
    return batch


def in_rain(picture: Batch) -> Batch:
    """Return (`DRAWS`, 3, H, W): (1, 3, H, W) each time in other rain, 19 dB from the picture.

    What rounding gains or loses differs from draw to draw; scores on test sets are means, too. The
    density is that at which the mean is nearest to what `benchmarks/precision.py` finds there:
    in denser rain this small picture, unlike theirs, is hardly restored at all.
    """
    rng = np.random.default_rng(1)
    height, width = picture.shape[2:]
    rain = np.zeros((DRAWS, 1, height, width), np.float32)
    for layer in rain[:, 0]:
        for _ in range(height * width // 120):
            top, left, light = (
                rng.integers(-20, height),
                rng.integers(width),
                rng.uniform(0.05, 0.3),
            )
            layer[max(top, 0) : max(top + 24, 0), left : left + 2] += np.float32(light)
    return (picture + rain).clip(0, 1)


def passes_precision_check(exact: NativeEngine, rounded: NativeEngine) -> bool:
    """Return whether an engine's answers are `MIN_PSNR_DB` near to the exact ones, and as good.

    Near is measured on `trial_picture`, of which little is to be changed; as good, to
    `MAX_LOSS_DB` in the mean, on the same in rain. At the model's own depth; takes about
    a tenth of a second.
    """
    step = exact.info.alignment
    clean = trial_picture(-(-72 // step) * step, -(-104 // step) * step)
    rainy = in_rain(clean)
    near = _psnr(rounded(clean).restored, exact(clean).restored)
    pairs = zip(exact(rainy).restored, rounded(rainy).restored, strict=True)
    lost = np.mean([_psnr(ours, clean[0]) - _psnr(theirs, clean[0]) for ours, theirs in pairs])
    return near >= MIN_PSNR_DB and bool(lost <= MAX_LOSS_DB)


def _psnr(picture: Batch, reference: Batch) -> float:
    apart = picture.clip(0, 1) - reference.clip(0, 1)
    return float(-10 * np.log10(np.mean(np.square(apart, dtype=np.float64)) + 1e-20))
