"""The context branch of a model: what veil lies over the whole picture (NumPy).

A window of some 91 pixels cannot tell a bright wall from fog. The branch sees a thumbnail of the
whole degraded picture and says how much of each place's light came through, and what colour the
veil has; `Lift` undoes I = t J + (1 - t) A before the network sees its tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image, Pixels, to_rgb

Floats = NDArray[np.float32]
Area = tuple[slice, slice]

SIDE = 256
"""Rows and columns of a thumbnail, whatever the picture's shape."""
BLOCK = 8
"""Side of the blocks of a thumbnail whose mean, least and greatest values the branch sees."""
THICKEST = np.float32(1.0)
"""Greatest -log t: what is darker behind the veil than this leaves little but noise."""
LEAST = 1 / 256
"""Gain less 1 that is worth applying."""
PREFIX = "context."
"""What the branch's weights are called in a model file."""


@dataclass(frozen=True)
class Lift:
    """What takes the veil off a picture, as a context branch judged it.

    Attributes:
        gain: (h, w) float32, 1 / t at the middle of each cell of a coarse grid; at least 1.
        airlight: (3,) RGB of the veil in [0, 1].
    """

    gain: Floats
    airlight: Floats

    @property
    def clear(self) -> bool:
        """Whether there is no veil worth the name: pictures in clear air stay as they are."""
        return bool(self.gain.max() < 1 + LEAST)

    def __call__(self, window: Image, area: Area, shape: tuple[int, int]) -> Image:
        """Return a window of a picture without the veil: A + (I - A) / t, not clipped.

        Args:
            window: (h, w, 3) RGB in [0, 1].
            area: its rows and columns in the picture.
            shape: (H, W) of the picture.
        """
        if self.clear:
            return window
        gain = enlarge(self.gain, area, shape)
        planes = np.empty((3, *window.shape[:2]), np.float32)  # as batches want them
        for channel, (plane, light) in enumerate(zip(planes, self.airlight, strict=True)):
            np.subtract(window[..., channel], light, out=plane)
            plane *= gain
            plane += light
        return planes.transpose(1, 2, 0)


@dataclass(frozen=True)
class Context:
    """A context branch ready to run; mirrors `cmudrn.nn.context.ContextBranch`.

    Attributes:
        weights: name in the branch's state dict -> float32 array.
    """

    weights: Mapping[str, Floats]

    @classmethod
    def of(cls, tensors: Mapping[str, Floats]) -> Context | None:
        """Return the branch among the tensors of a model file, or None."""
        mine = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
        return cls(mine) if mine else None

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(array.size for array in self.weights.values())

    def __call__(self, picture: Pixels) -> Lift:
        """Return what takes the veil off an (H, W, 3) or (H, W) picture of any pixel type."""
        return self.judge(make_thumbnail(picture))

    def judge(self, thumbnail: Image) -> Lift:
        """Return what takes it off the picture that a thumbnail, (SIDE, SIDE, 3), was made of."""
        bands = thumbnail.reshape(SIDE // BLOCK, BLOCK, SIDE, 3)
        # Rows first, which are long: both sides of small blocks at once are seven times as slow.
        seen = [
            reduce(reduce(bands, 1).reshape(SIDE // BLOCK, SIDE // BLOCK, BLOCK, 3), 2)
            for reduce in (np.mean, np.min, np.max)
        ]
        h = np.concatenate(seen, -1).transpose(2, 0, 1) - np.float32(0.5)
        h = _relu(self._convolve(h, "enter", 2))
        h = _relu(self._convolve(h, "reduce", 2))
        h = h + _relu(self._convolve(h, "look", 1))
        whole = np.concatenate([h.mean((1, 2)), h.max((1, 2))])
        whole = _relu(self._apply(whole, "gather"))
        h = _relu(self._convolve(h, "judge", 1) + self._apply(whole, "spread")[:, None, None])
        thickness = np.logaddexp(np.float32(0), self._convolve(h, "thickness", 1)[0])
        thickness *= _sigmoid(self._apply(whole, "gate"))
        airlight = _sigmoid(self._apply(whole, "airlight"))
        return Lift(np.exp(np.minimum(thickness, THICKEST)), airlight)

    def _apply(self, values: Floats, layer: str) -> Floats:
        done: Floats = self.weights[f"{layer}.weight"] @ values + self.weights[f"{layer}.bias"]
        return done

    def _convolve(self, h: Floats, layer: str, stride: int) -> Floats:
        weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
        margin = weight.shape[2] // 2
        padded = np.pad(h, ((0, 0), (margin, margin), (margin, margin)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
        sums = np.tensordot(weight, windows[:, ::stride, ::stride], ((1, 2, 3), (0, 3, 4)))
        done: Floats = sums + bias[:, None, None]
        return done


def make_thumbnail(picture: Pixels) -> Image:
    """Return a picture of any shape and type as (SIDE, SIDE, 3) float32: means over cells.

    A cell's rows and columns are those that it touches, at least one. Beside the picture this
    takes memory for SIDE of its rows only.
    """
    rows, columns = (_cells(side) for side in picture.shape[:2])
    # One column more than the picture has: reduceat wants every end to be a place.
    bands = np.zeros((SIDE, picture.shape[1] + 1, *picture.shape[2:]), np.float32)
    for band, first, last in zip(bands, *rows, strict=True):
        np.add.reduce(picture[first:last], 0, dtype=np.float32, out=band[:-1])
    sums = np.add.reduceat(bands, columns.T.ravel(), 1)[:, ::2]
    areas = np.outer(*(last - first for first, last in (rows, columns))).astype(np.float32)
    white = 1 if picture.dtype == np.float32 else np.iinfo(picture.dtype).max
    thumbnail: Image = to_rgb(sums) / (areas * np.float32(white))[..., None]
    return thumbnail


def _cells(length: int) -> NDArray[np.int64]:
    """Return the first position of each of the SIDE cells along an axis, and that after its last.

    They are those of `torch.nn.functional.adaptive_avg_pool2d`.
    """
    edges = np.arange(SIDE + 1) * length
    return np.stack([edges[:-1] // SIDE, -(-edges[1:] // SIDE)])


def enlarge(grid: Floats, area: Area, shape: tuple[int, int]) -> Floats:
    """Return a window of a coarse grid spread bilinearly over a picture, its edges repeated.

    Each value depends on its own place alone, so that windows are parts of the whole.

    Args:
        grid: (h, w) values at the middles of cells that cover the picture.
        area: rows and columns of the window.
        shape: (H, W) of the picture.
    """
    top, bottom, down = _between(area[0], shape[0], grid.shape[0])
    left, right, across = _between(area[1], shape[1], grid.shape[1])
    rows = grid[top] + down[:, None] * (grid[bottom] - grid[top])
    start = rows.take(left, 1)
    spread: Floats = start + across * (rows.take(right, 1) - start)
    return spread


def _between(
    span: slice, length: int, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return each position's cell before, cell after, and how far it is on the way."""
    place = np.clip((np.arange(span.start, span.stop) + 0.5) * cells / length - 0.5, 0, cells - 1)
    before = place.astype(np.int64)
    return before, np.minimum(before + 1, cells - 1), (place - before).astype(np.float32)


def _relu(values: Floats) -> Floats:
    return np.maximum(values, np.float32(0))


def _sigmoid(values: Floats) -> Floats:
    return np.float32(1) / (np.float32(1) + np.exp(-values))
