"""Do no harm: what a network changes too faintly to be weather is held back.

A network with a small window takes some gleams and letters for weather. Over a neighbourhood such
mistakes add up to little, weather to much more; so the change is scaled, as Wiener's filter scales
a noisy signal, by a gain that depends on its energy E there: E^2 / (E^2 + E0^2).

`tools/fit_change_gating.py` measures it; E0 is in the model file, as `change_gating_db`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image, Pixels, put_float
from cmudrn.image.resampling import enlarge
from cmudrn.restoration.tiling import Area

BLOCK = 32
"""Side of the squares over which energy is summed, pixels."""

REACH = 4
"""Blocks in each direction that make a neighbourhood: 9 x 32 = 288 pixels across."""

UNTOUCHED = 0.998
"""From this gain on a change is left whole: an eighth of the range would differ by 0.1 of 255."""


@dataclass
class ChangeGate:
    """The energy of a picture's change, collected in pieces, and what follows from it.

    Args:
        height: of the picture, pixels.
        width: likewise.
        decibels: the change that is halved: as strong as between pictures of this PSNR. E0 is
            10^(-decibels / 10).
    """

    height: int
    width: int
    decibels: float
    _energy: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._energy = np.zeros((-(-self.height // BLOCK), -(-self.width // BLOCK)))

    def add(self, area: Area, degraded: Pixels, restored: Image) -> None:
        """Count in what the network made of an area; each area once.

        Args:
            area: rows and columns of the picture.
            degraded: (h, w, 3) or (h, w), the picture there; floats count within [0, 1].
            restored: (h, w, 3).
        """
        rows, columns = area
        across = _edges(columns)
        for start in range(rows.start // BLOCK * BLOCK, rows.stop, BLOCK):  # one row of blocks
            first, last = max(start, rows.start), min(start + BLOCK, rows.stop)
            band = slice(first - rows.start, last - rows.start)
            energy = np.zeros(columns.stop - columns.start, np.float32)
            for channel in range(restored.shape[2]):
                before = degraded[band] if degraded.ndim == 2 else degraded[band, :, channel]
                change = np.empty(before.shape, np.float32)
                put_float(np.clip(before, 0, 1) if before.dtype == np.float32 else before, change)
                np.subtract(restored[band, :, channel], change, out=change)
                energy += np.einsum("hw,hw->w", change, change)
            sums = np.add.reduceat(energy, across, dtype=np.float64) / restored.shape[2]
            left = columns.start // BLOCK
            self._energy[start // BLOCK, left : left + len(sums)] += sums

    def gains(self) -> NDArray[np.float32]:
        """Return the gain of each block, in [0, 1]."""
        pixels = np.outer(_sizes(self.height), _sizes(self.width))
        density = _neighbourhood(self._energy) / _neighbourhood(pixels)
        squared = (density * 10 ** (self.decibels / 10)) ** 2
        gains: NDArray[np.float32] = (squared / (squared + 1)).astype(np.float32)
        return gains

    def apply(self, degraded: Pixels, restored: Pixels) -> None:
        """Hold back restored's change from degraded in place; both (H, W) or (H, W, 3)."""
        gains = self.gains()
        if gains.min() >= UNTOUCHED:
            return
        columns = slice(0, self.width)
        for start in range(0, self.height, BLOCK):
            rows = slice(start, min(start + BLOCK, self.height))
            gain = enlarge(gains, (rows, columns), (self.height, self.width))
            if gain.min() < UNTOUCHED:
                restored[rows] = _interpolate(degraded[rows], restored[rows], gain)


def _interpolate(degraded: Pixels, restored: Pixels, gain: NDArray[np.float32]) -> Pixels:
    """Return degraded + gain (restored - degraded), rounded where the type is of whole numbers."""
    if degraded.ndim == 3:
        gain = gain[..., None]
    change = restored.astype(np.float32) - degraded
    mixed: Pixels = degraded + gain * change
    return mixed if degraded.dtype == np.float32 else np.rint(mixed)


def _edges(columns: slice) -> NDArray[np.intp]:
    """Return where the blocks that an area touches begin in it."""
    first, last = columns.start // BLOCK + 1, -(-columns.stop // BLOCK)
    return np.concatenate([[0], np.arange(first, last) * BLOCK - columns.start])


def _sizes(length: int) -> NDArray[np.float64]:
    """Return how many pixels of a side each block holds; the last may hold fewer."""
    return np.diff(np.append(np.arange(0, length, BLOCK), length)).astype(np.float64)


def _neighbourhood(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over the blocks within reach of each; there is nothing beyond the border."""
    for axis, length in enumerate(blocks.shape):
        total = np.insert(np.cumsum(blocks, axis), 0, 0, axis)
        at = np.arange(length)
        last, first = np.minimum(at + REACH + 1, length), np.maximum(at - REACH, 0)
        blocks = total.take(last, axis) - total.take(first, axis)
    return blocks
