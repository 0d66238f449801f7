"""Five frames of one scene, raw and restored, fused into one: what falls is gone in the next frame.

Rain and snow are brighter than what they cover, so low order statistics over time pass over them.
Candidates are the restored frame itself, the two lowest of the raw values and the three lowest of
the restored ones at a place. A small perceptron weighs them for each square of four by four pixels.
It sees how far the sorted values lie apart, whether the frame differs from the others over an
area, as an object that moves does, and whether the difference has a colour, as weather has not.
Where something moves it takes the restored frame as it is.

The weights were fitted by `tools/fit_temporal_fusion.py`; `benchmarks/temporal.py` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Planes = NDArray[Any]
"""(2C, H, W): the channels of a raw frame, then those of the restored one."""

FRAMES = 5
"""Frames that are fused."""
SQUARE = 4
"""Side of the squares that share their weights, pixels."""
NEAR, FAR = 2, 6
"""Reach of the two neighbourhoods that are averaged, in squares."""
ROWS = 16
"""Rows of squares that are fused at a time; a bound on memory."""

SHARES = 256
"""What weights of whole numbers sum up to."""

_SORT = ((0, 1), (3, 4), (2, 4), (2, 3), (1, 4), (0, 3), (0, 2), (1, 3), (1, 2))
"""Comparisons of a sorting network for five values."""


def fuse(
    window: Sequence[Planes], means: Sequence[Floats], current: int, *, takes_raw: bool = True
) -> Planes:
    """Return one frame of a window after fusion, (C, H, W).

    Args:
        window: five frames as they look from the current one; one that is missing, or a part of
            it, is the current frame's restoration, raw and restored.
        means: `square_means` of each.
        current: which of them is wanted.
        takes_raw: whether raw values may be taken; else the median of the restored ones is.
    """
    fused = np.empty_like(window[current][len(window[0]) // 2 :])
    head, seen = load_head(), features(means, current)
    for top in range(0, seen.shape[1], ROWS):
        rows = slice(top * SQUARE, (top + ROWS) * SQUARE)
        weights = head(seen[:, top : top + ROWS])
        images = candidates([planes[:, rows] for planes in window], current)
        if not takes_raw:
            images[1] = images[2] = images[-1]
        fused[:, rows] = mix(images, weights)
    return fused


def candidates(window: Sequence[Planes], current: int) -> list[Planes]:
    """Return what may be taken at each place, (C, H, W) each."""
    channels = len(window[0]) // 2
    ordered = _sorted(window)
    raw = [planes[:channels] for planes in ordered[:2]]
    restored = [planes[channels:] for planes in ordered[:3]]
    return [window[current][channels:], *raw, *restored]


def _sorted(values: Sequence[Planes]) -> list[Planes]:
    """Return the values of five arrays at each place, sorted: the lowest, and so on."""
    ordered = list(values)
    for low, high in _SORT:
        one, other = ordered[low], ordered[high]
        ordered[low], ordered[high] = np.minimum(one, other), np.maximum(one, other)
    return ordered


def mix(images: Sequence[Planes], weights: Floats) -> Planes:
    """Return the weighted mean of images, (C, H, W).

    Args:
        images: N of (C, H, W).
        weights: (N, rows of squares, columns of squares), that sum up to 1.
    """
    # Sums of 8 bits fit 16, of which a processor multiplies twice as many at a time.
    whole = images[0].dtype == np.uint8
    shares: Planes = _whole_shares(weights) if whole else weights
    wide = shares.repeat(SQUARE, axis=2)[..., : images[0].shape[2]]
    mixed, (count, height, width) = np.empty_like(images[0]), images[0].shape
    for row in range(min(SQUARE, height)):  # of the squares
        part = np.empty((count, -(-(height - row) // SQUARE), width), wide.dtype)
        total = np.zeros_like(part)
        for image, weight in zip(images, wide[:, : part.shape[1]], strict=True):
            np.multiply(image[:, row::SQUARE], weight, out=part, casting="unsafe")
            total += part
        if whole:
            total += SHARES // 2
            total >>= SHARES.bit_length() - 1
        elif mixed.dtype != np.float32:
            np.rint(total, out=total)
        mixed[:, row::SQUARE] = total
    return mixed


def _whole_shares(weights: Floats) -> NDArray[np.uint16]:
    """Return weights in whole numbers that sum up to SHARES: the largest takes what is left."""
    shares = (weights * np.float32(SHARES) + np.float32(0.5)).astype(np.uint16)
    most = weights.argmax(axis=0)[None]
    left = SHARES - shares.sum(axis=0, dtype=np.int16) + np.take_along_axis(shares, most, 0)
    np.put_along_axis(shares, most, left.astype(np.uint16), 0)
    return shares


def features(means: Sequence[Floats], current: int) -> Floats:
    """Return what the perceptron sees, (features, rows of squares, columns of squares).

    Args:
        means: `square_means` of five aligned frames.
        current: which of them is fused.
    """
    low, levels = _sorted([one[0] for one in means]), _sorted([one[1] for one in means])
    seen, now, hue = means[current]
    middle, change = levels[2], now - levels[2]
    hue = np.abs(hue - _sorted([one[2] for one in means])[2])
    pointwise = [
        low[1] - low[0], low[2] - low[1], low[3] - low[2], levels[1] - levels[0],
        middle - levels[1], levels[3] - middle, levels[4] - levels[3], change,
        now - low[1], seen - now, low[0] - levels[0], low[1] - levels[1], low[0] - middle, hue,
    ]  # fmt: skip
    around = np.stack([
        np.abs(change), levels[3] - levels[1], low[2] - low[0], np.maximum(-change, 0),
        np.abs(seen - now), hue, now - low[1],
    ])  # fmt: skip
    near = _box(around, NEAR)
    others = np.stack([np.abs(now - one[1]) for n, one in enumerate(means) if n != current])
    differences = list(_box(others, NEAR))
    # What sorts five values sorts four; the highest does not count.
    closest = _sorted([*differences, np.maximum.reduce(differences)])[:2]
    result = np.stack([*pointwise, *near, *_box(around, FAR), *closest])
    # Between -1 and 1, differences near zero spread out.
    result /= np.abs(result) + np.float32(12)
    return result


def square_means(planes: Planes) -> Floats:
    """Return means over squares, in 255ths: (3, rows of squares, columns of squares).

    They are the brightness of the raw frame, that of the restored one, and red less blue of the
    restored one. The last squares may be narrower.
    """
    channels = len(planes) // 2
    luma = {1: (1,), 3: (1, 2, 1)}[channels]
    white = 1.0 if planes.dtype == np.float32 else float(np.iinfo(planes.dtype).max)
    scale = np.float32(255 / (white * SQUARE**2))
    below, right = (-side % SQUARE for side in planes.shape[1:])
    if below or right:
        planes = np.pad(planes, ((0, 0), (0, below), (0, right)), mode="edge")
    # Sums of 8 bits fit 16: 4 x 4 pixels x 4.
    kind = np.int16 if planes.dtype == np.uint8 else np.float32
    rows = [_add([plane[n::SQUARE] for n in range(SQUARE)], kind) for plane in planes]
    sums = [
        _add([row for row, n in zip(part, luma, strict=True) for _ in range(n)], kind)
        for part in (rows[:channels], rows[channels:])
    ]
    sums.append(rows[channels] - rows[-1])
    means = [_add([s[:, n::SQUARE] for n in range(SQUARE)], kind) * scale for s in sums]
    means[0] /= np.float32(sum(luma))
    means[1] /= np.float32(sum(luma))
    return np.stack(means)


def _add(arrays: Sequence[Planes], kind: type) -> Planes:
    total: Planes = arrays[0].astype(kind)
    for array in arrays[1:]:
        total += array
    return total


def _box(planes: Floats, reach: int) -> Floats:
    """Return means over 2 reach + 1 rows and columns of (N, h, w); borders are repeated."""
    side = 2 * reach + 1
    for axis in (1, 2):
        width = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded, length = np.pad(planes, width, mode="edge"), planes.shape[axis]
        total = np.zeros_like(planes)
        for start in range(side):
            total += padded[(slice(None),) * axis + (slice(start, start + length),)]
        planes = total
    return planes / np.float32(side**2)


@dataclass(frozen=True)
class Head:
    """A perceptron with one hidden layer that weighs the candidates.

    Attributes:
        hidden: (features + 1, hidden); the last row is the bias.
        output: (hidden + 1, candidates); likewise.
    """

    hidden: Floats
    output: Floats

    def __call__(self, seen: Floats) -> Floats:
        """Return weights that sum up to 1, (candidates, h, w), of features (features, h, w)."""
        flat = seen.reshape(len(seen), -1)
        inner = self.hidden[:-1].T @ flat + self.hidden[-1][:, None]
        np.maximum(inner, 0, out=inner)
        values = self.output[:-1].T @ inner + self.output[-1][:, None]
        values -= values.max(axis=0)
        np.exp(values, out=values)
        values /= values.sum(axis=0)
        weights: Floats = values.reshape(-1, *seen.shape[1:])
        return weights


@cache
def load_head() -> Head:
    """Return the perceptron that ships."""
    with files("cmudrn.restoration").joinpath("temporal_fusion.npz").open("rb") as file:
        arrays = np.load(file)
        return Head(arrays["hidden"], arrays["output"])
