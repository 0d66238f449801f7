"""How near a restored picture is to the clean one, by named protocols.

The field's papers differ in colour (RGB or luma), rounding and resolution, and rarely say which:
that alone moves PSNR by more than a decibel. So every protocol is computed, side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.metrics import structural_similarity

from cmudrn.image import Image

UNTOUCHED_STEPS = 2
"""In 8-bit steps: a pixel whose channels differ by no more counts as left alone."""

LARGEST_PSNR = 100.0
"""In dB: what identical pictures are given, so that a mean over pictures stays a number."""

WINDOW = 11
"""Side in pixels of SSIM's Gaussian window."""

Luma = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """One way to score a picture.

    Attributes:
        title: heading of its column.
        unit: "dB", or "" for a number in [-1, 1].
        decimals: of a printed value.
        measure: (restored, clean, degraded), each (H, W, 3) float32 RGB in [0, 1] -> the score;
            not a number where a picture has none.
    """

    title: str
    unit: str
    decimals: int
    measure: Callable[[Image, Image, Image], float]


def round_to_8_bit(image: Image) -> NDArray[np.float64]:
    """Return a picture's values as a file would keep them: whole numbers from 0 to 255."""
    return np.rint(np.clip(image.astype(np.float64), 0, 1) * 255)


def matlab_luma(image: Image) -> Luma:
    """Return Y, 16 to 235 in whole numbers, as MATLAB's rgb2ycbcr makes it of an 8-bit picture."""
    red, green, blue = np.moveaxis(round_to_8_bit(image) / 255, 2, 0)
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    rounded: Luma = np.floor(luma + 0.5)  # MATLAB rounds halves up
    return rounded


def psnr(first: NDArray[np.float64], second: NDArray[np.float64], peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB, at most `LARGEST_PSNR`."""
    error = float(np.mean((first - second) ** 2))
    if error == 0:
        return LARGEST_PSNR
    return min(LARGEST_PSNR, 10 * float(np.log10(peak**2 / error)))


def psnr_rgb(restored: Image, clean: Image) -> float:
    """Return PSNR of the RGB values, clipped to [0, 1] and not rounded; peak 1."""
    return psnr(np.clip(restored.astype(np.float64), 0, 1), clean.astype(np.float64), 1)


def psnr_rgb8(restored: Image, clean: Image) -> float:
    """Return PSNR of the RGB values rounded to 8 bit; peak 255."""
    return psnr(round_to_8_bit(restored), round_to_8_bit(clean), 255)


def psnr_y(restored: Image, clean: Image) -> float:
    """Return PSNR of MATLAB's luma of the 8-bit pictures; peak 255."""
    return psnr(matlab_luma(restored), matlab_luma(clean), 255)


def untouched(degraded: Image, clean: Image) -> NDArray[np.bool_]:
    """Return (H, W): the pixels that the weather left alone, in every channel."""
    difference = np.abs(round_to_8_bit(degraded) - round_to_8_bit(clean))
    mask: NDArray[np.bool_] = np.asarray((difference <= UNTOUCHED_STEPS).all(2))
    return mask


def psnr_untouched(restored: Image, clean: Image, degraded: Image) -> float:
    """Return PSNR between result and *input* over the pixels that the weather left alone.

    Any other score mixes how much of the weather is gone and what else is; this is the second
    alone. RGB rounded to 8 bit, peak 255; not a number where the weather left no pixel alone.
    """
    mask = untouched(degraded, clean)
    if not mask.any():
        return float("nan")
    return psnr(round_to_8_bit(restored)[mask], round_to_8_bit(degraded)[mask], 255)


def ssim_rgb(restored: Image, clean: Image) -> float:
    """Return SSIM of the RGB values, clipped and not rounded: mean over channels, full size."""
    return _ssim(np.clip(restored.astype(np.float64), 0, 1), clean.astype(np.float64), 1, 2)


def ssim_y(restored: Image, clean: Image) -> float:
    """Return SSIM of MATLAB's luma of the 8-bit pictures at full size."""
    return _ssim(matlab_luma(restored), matlab_luma(clean), 255)


def ssim_y_matlab(restored: Image, clean: Image) -> float:
    """Return SSIM as the ssim.m of its authors' page computes it: luma, downsampled.

    Pictures whose shorter side is 384 pixels or more are first reduced by
    round(shorter side / 256); smaller ones are not, and score as `ssim_y`.
    """
    factor = matlab_factor(clean.shape[:2])
    first, second = (matlab_reduce(matlab_luma(image), factor) for image in (restored, clean))
    return _ssim(first, second, 255)


def matlab_factor(shape: tuple[int, ...]) -> int:
    """Return by what ssim.m reduces a picture of (H, W): at least 1."""
    return max(1, int(np.floor(min(shape) / 256 + 0.5)))


def matlab_reduce(plane: Luma, factor: int) -> Luma:
    """Return imfilter(plane, mean of factor x factor, 'symmetric') at every factor-th pixel.

    MATLAB puts an even window's centre before its middle: of two pixels, the window of the first.
    """
    if factor == 1:
        return plane
    origin = 0 if factor % 2 else -1
    mean: Luma = uniform_filter(plane, factor, mode="reflect", origin=origin)
    return mean[::factor, ::factor]


def _ssim(first: Luma, second: Luma, peak: float, channel_axis: int | None = None) -> float:
    if min(first.shape[:2]) < WINDOW:
        return float("nan")
    return float(
        structural_similarity(
            first,
            second,
            data_range=peak,
            channel_axis=channel_axis,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _against_clean(measure: Callable[[Image, Image], float]) -> Callable[..., float]:
    """Return a measure that does not look at the degraded picture."""
    return lambda restored, clean, _degraded: measure(restored, clean)


PROTOCOLS: dict[str, Protocol] = {
    "psnr_rgb": Protocol("PSNR RGB", "dB", 2, _against_clean(psnr_rgb)),
    "psnr_rgb8": Protocol("PSNR RGB 8-bit", "dB", 2, _against_clean(psnr_rgb8)),
    "psnr_y": Protocol("PSNR Y", "dB", 2, _against_clean(psnr_y)),
    "ssim_rgb": Protocol("SSIM RGB", "", 4, _against_clean(ssim_rgb)),
    "ssim_y": Protocol("SSIM Y", "", 4, _against_clean(ssim_y)),
    "ssim_y_matlab": Protocol("SSIM Y MATLAB", "", 4, _against_clean(ssim_y_matlab)),
    "psnr_untouched": Protocol("PSNR untouched", "dB", 2, psnr_untouched),
}


def score(restored: Image, clean: Image, degraded: Image) -> dict[str, float]:
    """Return every protocol's score of a picture, by the protocols' names."""
    return {name: one.measure(restored, clean, degraded) for name, one in PROTOCOLS.items()}
