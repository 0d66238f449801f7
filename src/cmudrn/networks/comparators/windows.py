"""A network for one size of picture on pictures of any size: windows, blended where they meet."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cmudrn.networks.comparators.harness import reach

OVERLAP = 32
"""Pixels that neighbouring windows share, at least."""


def starts(size: int, window: int) -> list[int]:
    """Return where windows begin that cover a side, evenly spread; one where it fits exactly."""
    if size <= window:
        return [0]
    step = window - min(OVERLAP, window // 2)
    count = -(-(size - window) // step) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


def _ramp(window: int, like: Tensor) -> Tensor:
    """Return weights that rise by one a pixel from the edges, up to the overlap."""
    place = torch.arange(1, window + 1, dtype=like.dtype, device=like.device)
    return torch.minimum(place, place.flip(0)).clamp(max=OVERLAP)


def restore_in_windows(
    degraded: Tensor, restore: Callable[[Tensor], Tensor], window: tuple[int, int]
) -> Tensor:
    """Return the restored picture, put together of windows.

    A picture that is taller than wide is turned by a quarter to the left first, and back at the
    end. One that is smaller than a window is mirrored at its edges.

    Args:
        degraded: (1, 3, H, W).
        restore: (1, 3, h, w) to the same.
        window: h and w; h is not above w.
    """
    turned = degraded.shape[2] > degraded.shape[3]
    picture = degraded.rot90(1, (2, 3)) if turned else degraded
    height, width = picture.shape[2:]
    wide = reach(picture, max(height, window[0]), max(width, window[1]))
    total, weight = torch.zeros_like(wide), torch.zeros_like(wide[:, :1])
    ramp = _ramp(window[0], wide)[:, None] * _ramp(window[1], wide)
    for top in starts(wide.shape[2], window[0]):
        for left in starts(wide.shape[3], window[1]):
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            total[place] += ramp * restore(wide[place])
            weight[place] += ramp
    restored = (total / weight)[:, :, :height, :width]
    return restored.rot90(-1, (2, 3)) if turned else restored
