"""Collateral damage: what a model does to the pixels that the weather left alone.

A mean PSNR against the clean picture mixes two things: how much of the weather is gone, and how
much else. This protocol looks at the second alone. It needs the degraded picture besides the
restored and the clean one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmudrn.evaluation.metrics import psnr, round_to_8_bit
from cmudrn.image import Image

UNTOUCHED = 2
"""In 8-bit steps: a pixel that no channel of changed by more counts as left alone."""


def untouched(degraded: Image, clean: Image) -> NDArray[np.bool_]:
    """Return (H, W): the pixels that the weather left alone, in every channel."""
    difference = np.abs(round_to_8_bit(degraded) - round_to_8_bit(clean))
    mask: NDArray[np.bool_] = np.asarray((difference <= UNTOUCHED).all(2))
    return mask


def psnr_untouched(restored: Image, clean: Image, degraded: Image) -> float:
    """Return PSNR between result and *input* over the pixels that the weather left alone.

    RGB, rounded to 8 bit, peak 255, at most 100 dB; not a number where no pixel was left alone.
    """
    mask = untouched(degraded, clean)
    if not mask.any():
        return float("nan")
    return psnr(round_to_8_bit(restored)[mask], round_to_8_bit(degraded)[mask], 255)


def share_changed(restored: Image, degraded: Image, steps: int = 20) -> float:
    """Return the share of pixels of which a channel was changed by more than so many 8-bit steps.

    For saying how much of a picture was changed strongly, where there is no clean one.
    """
    change = np.abs(round_to_8_bit(restored) - round_to_8_bit(degraded)).max(2)
    return float((change > steps).mean())
