"""Five frames of one scene, raw and restored, fused into one: what falls is gone in the next frame.

Rain and snow are brighter than what they cover, so low order statistics over time pass over them.
Candidates are the restored frame itself, the two lowest of the raw values and the three lowest of
the restored ones at a place. Where the camera stands still, four of the five stand for two frames
each: the lower one of the raw values, and the mean of the restored ones. A small perceptron weighs
the candidates for each square of four by four pixels. It sees how far the sorted values lie apart,
of squares and of pixels, whether the frame differs from the others over an area, as an object that
moves does, and whether the difference has a colour, as weather has not. Where something moves it
takes the restored frame as it is. Merged frames are weighed by a perceptron of their own; the lower
of two raw ones passes over what is bright and moves as over snow, so that of unmerged frames has a
veto. It has one where the camera moves, too, where it would mix a little of other frames in.

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
from cmudrn.restoration.squares import (
    SQUARE,
    Floats,
    Planes,
    Whole,
    box_sums,
    differences,
    sort_five,
)

FRAMES = 5
"""Frames that are fused."""
BESIDE, NEAR, WIDE, FAR = 1, 2, 4, 6
"""Reaches of the neighbourhoods that are averaged, in squares."""
DIFFERS, HALF = 3, 12
"""Differences that count half as one in shares of an area, and in means, in 255ths."""
UNITS, UNIT = 64, 256
"""Parts of a 255th in which features are computed, and what stands for 1 in them."""
WHITE = 255 * UNITS
FEATURES, LAYERS = 84, 3
SHIFT, MAX_VALUE = 10, 16 * UNIT - 1
"""Binary digits of weights after the point, and the highest value between two layers."""
STEP = 128
"""Parts in which the logarithms of shares are known."""
ROWS = 32
"""Rows of squares that are fused at a time; a bound on memory."""

SHARES = 256
"""What weights of whole numbers sum up to."""
VETO = 218
"""Where the perceptron of unmerged frames gives the restored frame this share, nothing else counts.
Less spares more of what moves, and leaves more snow."""
MAJORITY = 5
"""Of a square and its eight neighbours so many have to say so: single squares would be seen."""


@dataclass(frozen=True)
class Aligned:
    """Five frames as they look from the first of them, which is fused.

    Attributes:
        planes: of each; one that is missing, or a part of it, is the first one's restoration, raw
            and restored.
        means: `square_means` of each.
        merged: whether others stand for two frames each.
    """

    planes: list[Planes]
    means: list[Floats]
    merged: bool


def fuse(windows: Sequence[Aligned], *, takes_raw: bool = True) -> Planes:
    """Return the first frame of a window after fusion, (C, H, W).

    Args:
        windows: the frames next to it; then merged ones, where there are. These are fused.
        takes_raw: whether raw values may be taken; else more of the restored ones are.
    """
    shares = _weighed(windows[-1], takes_raw=takes_raw)
    if takes_raw:
        nearest = shares if len(windows) == 1 else _weighed(windows[0], takes_raw=True)
        votes = nearest[0] >= VETO
        moves = box_sums(votes[None].astype(np.int32), 1)[0] >= MAJORITY
        shares[:, moves] = 0
        shares[0, moves] = SHARES
    planes = windows[-1].planes
    if planes[0].dtype == np.uint8 and (kernels := frame_kernels()):
        return kernels.mix(planes, 0, shares, takes_raw)
    fused = np.empty_like(planes[0][len(planes[0]) // 2 :])
    weights = shares.astype(np.float32) / np.float32(SHARES)
    for top in range(0, weights.shape[1], ROWS):
        rows = slice(top * SQUARE, (top + ROWS) * SQUARE)
        images = candidates([frame[:, rows] for frame in planes], 0, takes_raw=takes_raw)
        fused[:, rows] = mix(images, weights[:, top : top + ROWS])
    return fused


def _weighed(window: Aligned, *, takes_raw: bool) -> NDArray[np.uint16]:
    head = load_head(merged=window.merged)
    return weigh(window.means, differences(window.planes, 0), 0, head, takes_raw=takes_raw)


def weigh(
    means: Sequence[Floats], apart: Floats, current: int, head: Head, *, takes_raw: bool
) -> NDArray[np.uint16]:
    """Return the shares of the candidates, in whole numbers that sum up to SHARES.

    Args:
        means: `square_means` of five aligned frames.
        apart: their `differences`.
        current: which of them is fused.
        head: the perceptron that weighs.
        takes_raw: as for `fuse`.
    """
    if kernels := frame_kernels():
        layers = [(layer.weights, layer.biases) for layer in head.layers]
        return kernels.weigh(means, apart, current, takes_raw, layers, decay())
    shares, rows = list[NDArray[np.uint16]](), apart.shape[1]
    for top in range(0, rows, ROWS):
        low, high = max(0, top - FAR), min(rows, top + ROWS + FAR)
        part = [one[:, low:high] for one in means]
        seen = features(part, apart[:, low:high], current, takes_raw=takes_raw)
        shares.append(head(seen[:, top - low : top - low + ROWS]))
    return np.concatenate(shares, axis=1)


def candidates(window: Sequence[Planes], current: int, *, takes_raw: bool = True) -> list[Planes]:
    """Return what may be taken at each place, (C, H, W) each."""
    channels = len(window[0]) // 2
    ordered = sort_five(window)
    restored = [planes[channels:] for planes in ordered]
    raw = [planes[:channels] for planes in ordered[:2]] if takes_raw else restored[2:4]
    return [window[current][channels:], *raw, *restored[:3]]


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
    """Return weights in whole numbers that sum up to SHARES."""
    return _filled_up((weights * np.float32(SHARES) + np.float32(0.5)).astype(np.uint16))


def features(
    means: Sequence[Floats], apart: Floats, current: int, *, takes_raw: bool
) -> NDArray[np.int16]:
    """Return what the perceptron sees, (FEATURES, rows of squares, columns of squares).

    They are whole numbers, in 256ths: differences are between -1 and 1, shares from 0 to 1.

    Args:
        means: `square_means` of five aligned frames.
        apart: their `differences`.
        current: which of them is fused.
        takes_raw: as for `fuse`.
    """
    units = [_whole(one) for one in means]
    low, levels, hues = (sort_five([one[n] for one in units]) for n in range(3))
    seen, now, hue = units[current]
    middle, change = levels[2], now - levels[2]
    tint = np.abs(hue - hues[2])
    # Weather covers all colours alike: what is left of the scene's is as much as of its darkness.
    left = (WHITE - now).astype(np.float32) / (WHITE + UNITS - low[1]).astype(np.float32)
    odd = np.abs(hue - (hues[2].astype(np.float32) * left).astype(np.int32))
    odd = np.minimum(odd, 2 * WHITE)
    pointwise = [
        low[1] - low[0], low[2] - low[1], low[3] - low[2], levels[1] - levels[0],
        middle - levels[1], levels[3] - middle, levels[4] - levels[3], change,
        now - low[1], seen - now, low[0] - levels[0], low[1] - levels[1], low[0] - middle, tint,
        odd,
    ]  # fmt: skip
    around = np.stack([
        np.abs(change), levels[3] - levels[1], low[2] - low[0], np.maximum(-change, 0),
        np.abs(seen - now), tint, now - low[1], odd,
    ])  # fmt: skip
    rest = [one for n, one in enumerate(units) if n != current]
    others, raw = (np.abs(units[current][n] - np.stack([one[n] for one in rest])) for n in (1, 0))
    pixels, frames = np.split(_whole(apart), [-len(rest)])
    filled = _shares(np.concatenate([pixels, frames]))
    averaged = [
        _squashed(np.stack(pointwise)), _squashed(around, NEAR), _squashed(around, FAR),
        _least(_squashed(others, NEAR))[:2], _least(_squashed(raw, BESIDE))[:3],
        _squashed(pixels), _least(_squashed(frames, NEAR))[:3],
    ]  # fmt: skip
    shares = [_average(filled[: len(pixels)], reach) for reach in (BESIDE, NEAR, FAR)]
    moving = _least(_average(filled[len(pixels) :], WIDE))[:3]
    flag = np.zeros((2, *now.shape), np.int32)
    flag[0] = UNIT * takes_raw
    return np.concatenate([*averaged, *shares, moving, flag]).astype(np.int16)


def _whole(values: Floats) -> Whole:
    """Return values in 255ths as whole numbers of UNITS."""
    units: Planes = np.rint(values * np.float32(UNITS))
    return units.astype(np.int32)


def _squashed(values: Whole, reach: int = 0) -> Whole:
    """Return the means around each place between -UNIT and UNIT; those near zero spread out."""
    mean = _mean(values, reach)
    squashed: Planes = mean * np.float32(UNIT) / (np.abs(mean) + np.float32(HALF * UNITS))
    return squashed.astype(np.int32)


def _shares(values: Whole) -> Whole:
    """Return how much differences count: one that is DIFFERS, half of UNIT."""
    floats = values.astype(np.float32)
    return (floats * np.float32(UNIT) / (floats + np.float32(DIFFERS * UNITS))).astype(np.int32)


def _average(values: Whole, reach: int) -> Whole:
    return _mean(values, reach).astype(np.int32)


def _mean(values: Whole, reach: int) -> Floats:
    sums = box_sums(values, reach) if reach else values
    return sums.astype(np.float32) / np.float32((2 * reach + 1) ** 2)


def _least(four: Whole) -> Whole:
    """Return the values of four arrays at each place, sorted."""
    # What sorts five values sorts four; the highest does not count.
    return np.stack(sort_five([*four, four.max(axis=0)])[:4])


@dataclass(frozen=True)
class Layer:
    """A layer of the perceptron in whole numbers.

    Attributes:
        weights: (outputs, inputs), in parts of 2**SHIFT.
        biases: (outputs,), in parts of UNIT * 2**SHIFT.
    """

    weights: NDArray[np.int16]
    biases: Whole

    def __call__(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (outputs, N) of (inputs, N)."""
        sums = self.weights.astype(np.float64) @ values.astype(np.float64)  # exact, and fast
        return sums.astype(np.int64) + self.biases[:, None]


@dataclass(frozen=True)
class Head:
    """A perceptron that weighs the candidates, in whole numbers.

    Attributes:
        layers: one after another; `MAX_VALUE` bounds what lies between.
    """

    layers: tuple[Layer, ...]

    def __call__(self, seen: NDArray[np.int16]) -> NDArray[np.uint16]:
        """Return shares that sum up to SHARES, (candidates, h, w), of features (features, h, w)."""
        values = seen.reshape(len(seen), -1).astype(np.int64)
        for layer in self.layers[:-1]:
            values = np.clip((layer(values) + (1 << SHIFT - 1)) >> SHIFT, 0, MAX_VALUE)
        values = self.layers[-1](values) >> SHIFT + 1
        behind = np.minimum(values.max(axis=0) - values, len(decay()) - 1)
        parts = decay()[behind].astype(np.float32)
        shares = (parts * np.float32(SHARES) / parts.sum(axis=0) + np.float32(0.5)).astype(
            np.uint16
        )
        shares = _filled_up(shares)
        return shares.reshape(-1, *seen.shape[1:])


def _filled_up(shares: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return shares that sum up to SHARES: the largest takes what is left."""
    most = shares.argmax(axis=0)[None]
    left = SHARES - shares.sum(axis=0, dtype=np.int16) + np.take_along_axis(shares, most, 0)
    np.put_along_axis(shares, most, left.astype(np.uint16), 0)
    return shares


@cache
def decay() -> Whole:
    """Return exp(-n / STEP) in parts of 65536, of as many n as matter."""
    parts: NDArray[np.float64] = np.rint(65536 * np.exp(-np.arange(16 * STEP) / STEP))
    return parts.astype(np.int32)


@cache
def load_head(*, merged: bool) -> Head:
    """Return the perceptron that ships, for frames as they are or for merged ones."""
    kind = "merged_" if merged else ""
    with files("cmudrn.restoration").joinpath("temporal_fusion.npz").open("rb") as file:
        arrays = np.load(file)
        layers = [(arrays[f"{kind}weights{n}"], arrays[f"{kind}biases{n}"]) for n in range(LAYERS)]
    return Head(tuple(Layer(weights, biases) for weights, biases in layers))
