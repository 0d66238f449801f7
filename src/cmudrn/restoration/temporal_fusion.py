"""Five frames of one scene, raw and restored, fused into one: what falls is gone in the next frame.

Rain and snow are brighter than what they cover, so low order statistics over time pass over them.
Candidates are the restored frame itself, the two lowest of the raw values and the three lowest of
the restored ones at a place. A small perceptron weighs them for each square of four by four pixels.
It sees how far the sorted values lie apart, of squares and of pixels, whether the frame differs
from the others over an area, as an object that moves does, and whether the difference has a colour,
as weather has not. Where something moves it takes the restored frame as it is.

The weights were fitted by `tools/fit_temporal_fusion.py`; `benchmarks/temporal.py` measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.frames import frame_kernels
from cmudrn.restoration.squares import SQUARE, Floats, Planes, box, differences, sort_five

FRAMES = 5
"""Frames that are fused."""
BESIDE, NEAR, WIDE, FAR = 1, 2, 4, 6
"""Reaches of the neighbourhoods that are averaged, in squares."""
DIFFERS = np.float32(3)
"""A difference that counts half as one, in 255ths."""
ROWS = 32
"""Rows of squares that are fused at a time; a bound on memory."""

SHARES = 256
"""What weights of whole numbers sum up to."""


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
    apart, weights = differences(window, current), list[Floats]()
    rows = apart.shape[1]
    for top in range(0, rows, ROWS):
        low, high = max(0, top - FAR), min(rows, top + ROWS + FAR)
        part = [one[:, low:high] for one in means]
        seen = features(part, apart[:, low:high], current)
        weights.append(load_head()(seen[:, top - low : top - low + ROWS]))
    return _mixed(window, current, np.concatenate(weights, axis=1), takes_raw)


def _mixed(window: Sequence[Planes], current: int, weights: Floats, takes_raw: bool) -> Planes:
    if window[0].dtype == np.uint8 and (kernels := frame_kernels()):
        return kernels.mix(window, current, _whole_shares(weights), takes_raw)
    fused = np.empty_like(window[current][len(window[0]) // 2 :])
    for top in range(0, weights.shape[1], ROWS):
        rows = slice(top * SQUARE, (top + ROWS) * SQUARE)
        images = candidates([planes[:, rows] for planes in window], current)
        if not takes_raw:
            images[1] = images[2] = images[-1]
        fused[:, rows] = mix(images, weights[:, top : top + ROWS])
    return fused


def candidates(window: Sequence[Planes], current: int) -> list[Planes]:
    """Return what may be taken at each place, (C, H, W) each."""
    channels = len(window[0]) // 2
    ordered = sort_five(window)
    raw = [planes[:channels] for planes in ordered[:2]]
    restored = [planes[channels:] for planes in ordered[:3]]
    return [window[current][channels:], *raw, *restored]


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


def features(means: Sequence[Floats], apart: Floats, current: int) -> Floats:
    """Return what the perceptron sees, (features, rows of squares, columns of squares).

    Args:
        means: `square_means` of five aligned frames.
        apart: their `differences`.
        current: which of them is fused.
    """
    low, levels = sort_five([one[0] for one in means]), sort_five([one[1] for one in means])
    seen, now, hue = means[current]
    middle, change = levels[2], now - levels[2]
    hue = np.abs(hue - sort_five([one[2] for one in means])[2])
    pointwise = [
        low[1] - low[0], low[2] - low[1], low[3] - low[2], levels[1] - levels[0],
        middle - levels[1], levels[3] - middle, levels[4] - levels[3], change,
        now - low[1], seen - now, low[0] - levels[0], low[1] - levels[1], low[0] - middle, hue,
    ]  # fmt: skip
    around = np.stack([
        np.abs(change), levels[3] - levels[1], low[2] - low[0], np.maximum(-change, 0),
        np.abs(seen - now), hue, now - low[1],
    ])  # fmt: skip
    others = np.stack([np.abs(now - one[1]) for n, one in enumerate(means) if n != current])
    pixels, frames = apart[: -len(others)], apart[-len(others) :]
    averaged = np.concatenate([
        np.stack(pointwise), box(around, NEAR), box(around, FAR),
        _least(box(others, NEAR))[:2], pixels, _least(box(frames, NEAR))[:3],
    ])  # fmt: skip
    # Between -1 and 1, differences near zero spread out.
    averaged /= np.abs(averaged) + np.float32(12)
    # Shares of an area that differ at all: something that moves fills it, weather does not.
    filled, differing = pixels / (pixels + DIFFERS), frames / (frames + DIFFERS)
    shares = [box(filled, reach) for reach in (BESIDE, NEAR, FAR)]
    return np.concatenate([averaged, *shares, _least(box(differing, WIDE))[:3]])


def _least(four: Floats) -> Floats:
    """Return the values of four arrays at each place, sorted."""
    # What sorts five values sorts four; the highest does not count.
    return np.stack(sort_five([*four, four.max(axis=0)])[:4])


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
