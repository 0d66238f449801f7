"""Structural similarity as a differentiable function."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


@functools.lru_cache(maxsize=64)
def _filter_matrix(size: int, padding: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the Gaussian filter along one axis as a (size_out, size) band matrix.

    Two small matrix products filter a patch much faster than a depthwise convolution does.
    """
    radius = WINDOW // 2
    taps = [math.exp(-0.5 * (i / SIGMA) ** 2) for i in range(-radius, radius + 1)]
    total = sum(taps)
    first, last = (0, size) if padding == "zero" else (radius, size - radius)
    matrix = torch.zeros(last - first, size, dtype=torch.float64)
    for row, centre in enumerate(range(first, last)):
        for i, tap in zip(range(centre - radius, centre + radius + 1), taps, strict=True):
            if 0 <= i < size:
                matrix[row, i] = tap / total
    return matrix.to(device=device, dtype=dtype)


class Blur:
    """Gaussian 11x11, sigma 1.5, over the last two axes of (..., H, W).

    Args:
        like: a tensor whose height, width, type and device the blur is for.
        padding: "valid" keeps windows that lie inside, "zero" pads with zeros.

    Raises:
        ValueError: "valid" and a side shorter than the window.
    """

    def __init__(self, like: Tensor, padding: Literal["valid", "zero"]) -> None:
        height, width = like.shape[-2:]
        if padding == "valid" and min(height, width) < WINDOW:
            raise ValueError(f"SSIM needs at least {WINDOW}x{WINDOW} pixels, not {height}x{width}")
        self.rows = _filter_matrix(height, padding, like.dtype, like.device)
        self.columns = _filter_matrix(width, padding, like.dtype, like.device).T

    def __call__(self, x: Tensor) -> Tensor:
        """Return x blurred."""
        return self.rows @ x @ self.columns


def ssim(estimate: Tensor, clean: Tensor, padding: Literal["valid", "zero"] = "valid") -> Tensor:
    """Return the mean structural similarity of each picture, shape (B,).

    With "valid" it equals scikit-image's `structural_similarity` with gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False, data_range=1, averaged over channels; with "zero" it
    is what the DRN authors train with.

    Args:
        estimate: (B, C, H, W), nominally in [0, 1].
        clean: (B, C, H, W) in [0, 1].
        padding: what happens at the edges.

    References:
        Wang et al., Image Quality Assessment, IEEE TIP 2004.
    """
    blur = Blur(clean, padding)
    mean_x, mean_y = blur(estimate), blur(clean)
    variance_x = blur(estimate * estimate) - mean_x * mean_x
    variance_y = blur(clean * clean) - mean_y * mean_y
    covariance = blur(estimate * clean) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * contrast).mean((1, 2, 3))
