"""How much of a picture was changed strongly, so that nobody trusts a result unseen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Pixels

STRONG_STEPS = 20
"""In 8-bit steps: a pixel of which a channel was changed by more counts as changed strongly."""

MUCH = 0.2
"""Share of strongly changed pixels above which a result should be looked at."""

MUCH_WEATHER = 0.02
"""Share of strongly changed pixels from which on much rain or snow falls."""

_BAND_PIXELS = 1 << 16
"""Compared at once: a bound on memory."""


def share_changed(before: Pixels, after: Pixels) -> float:
    """Return the share of the pixels that were changed strongly, 0 to 1.

    Args:
        before: (H, W, 3) RGB or (H, W) grey; uint8, uint16, or float32 in [0, 1].
        after: of the same shape and type.
    """
    rows = max(1, _BAND_PIXELS // before.shape[1])
    changed = 0
    for first in range(0, before.shape[0], rows):
        band = slice(first, first + rows)
        strong = _strong(before[band], after[band])
        if strong.ndim == 3:  # one channel after another: numpy is slow along an axis of three
            strong = strong[..., 0] | strong[..., 1] | strong[..., 2]
        changed += int(np.count_nonzero(strong))
    return changed / int(before.shape[0] * before.shape[1])


def _strong(before: Pixels, after: Pixels) -> NDArray[np.bool_]:
    """Return which values differ strongly."""
    apart, white = np.maximum(before, after) - np.minimum(before, after), 1.0
    if before.dtype != np.float32:
        white = float(np.iinfo(before.dtype).max)
    strong: NDArray[np.bool_] = apart > apart.dtype.type(STRONG_STEPS / 255 * white)
    return strong


def warn_of_change(changed: float) -> tuple[str, ...]:
    """Return a sentence where much was changed, else nothing."""
    if changed <= MUCH:
        return ()
    return (
        f"{changed:.0%} of the picture was changed strongly; compare the result with the original.",
    )
