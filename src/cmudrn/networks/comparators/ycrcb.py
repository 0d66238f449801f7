"""RGB to the YCrCb of OpenCV, and back; HDCW-Net sees that."""

from __future__ import annotations

import torch
from torch import Tensor

MIDDLE = 128 / 255
"""Where Cr and Cb stand for grey, in [0, 1]."""

_LUMA = (0.299, 0.587, 0.114)
_LUMA_14, _CR_14, _CB_14 = (4899, 9617, 1868), 11682, 9241
"""The same, and the factors of red and blue minus luma, in 14 bits."""


def to_ycrcb(rgb: Tensor) -> Tensor:
    """Return (B, 3, H, W) Y, Cr, Cb of RGB in [0, 1], likewise; without rounding."""
    red, green, blue = rgb.unbind(1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return torch.stack([luma, 0.713 * (red - luma) + MIDDLE, 0.564 * (blue - luma) + MIDDLE], 1)


def to_ycrcb_8bit(rgb: Tensor) -> Tensor:
    """Return the same as OpenCV makes of a picture of 8 bits: (B, 3, H, W) whole numbers / 255."""
    red, green, blue = (rgb.clamp(0, 1) * 255).round().to(torch.int32).unbind(1)

    def rounded(value: Tensor) -> Tensor:
        return (value + (1 << 13)) >> 14

    luma = rounded(_LUMA_14[0] * red + _LUMA_14[1] * green + _LUMA_14[2] * blue)
    cr = rounded((red - luma) * _CR_14 + (128 << 14))
    cb = rounded((blue - luma) * _CB_14 + (128 << 14))
    return torch.stack([luma, cr, cb], 1).clamp(0, 255).to(rgb.dtype) / 255


def to_rgb(ycrcb: Tensor) -> Tensor:
    """Return (B, 3, H, W) RGB of Y, Cr, Cb in [0, 1], likewise; neither rounded nor clipped."""
    luma, cr, cb = ycrcb.unbind(1)
    cr, cb = cr - MIDDLE, cb - MIDDLE
    return torch.stack([luma + 1.403 * cr, luma - 0.714 * cr - 0.344 * cb, luma + 1.773 * cb], 1)
