"""A dual-tree complex wavelet transform of two levels, and its inverse.

Level 1 filters without thinning out and calls the four pixels of every 2x2 square the samples of
four trees; level 2 filters each tree on its own (a and b along rows and columns) and keeps every
second sample. Pictures go on, mirrored, beyond their edges.

Level 2 along one direction is an orthogonal matrix, mirrored edges included: the filters of tree b
are those of tree a read backwards, and so are the samples beyond an edge. Its inverse is therefore
its transpose, for any coefficients, and needs no filters of its own.

References:
    Kingsbury, Complex Wavelets for Shift Invariant Analysis and Filtering of Signals, ACHA 2001.
    Selesnick, Baraniuk, Kingsbury, The Dual-Tree Complex Wavelet Transform, IEEE SPM 2005.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cmudrn.errors import CmudrnError

LOW_5 = (-0.05, 0.25, 0.6, 0.25, -0.05)
LOW_7 = (-3 / 280, -3 / 56, 73 / 280, 17 / 28, 73 / 280, -3 / 56, -3 / 280)
"""Low-pass filters of level 1, there and back: Kingsbury's nearly symmetric pair of 5 and 7."""

TREE_A = (
    0.0511304052838317,
    -0.0139753702468888,
    -0.109836051665971,
    0.263839561058938,
    0.766628467793037,
    0.563655710127052,
    0.000873622695217097,
    -0.100231219507476,
    -0.00168968127252815,
    -0.00618188189211644,
)
"""Low-pass filter of tree a at level 2: Kingsbury's quarter-shift filter of 10; b's is reversed."""

SMALLEST, MULTIPLE = 8, 4
"""Sides that the transform takes: a multiple of 4, at least 8."""

_MARGIN_1, _MARGIN_2 = 3, 8
_TAPS_2 = 2 * len(TREE_A)


@dataclass(frozen=True)
class Coefficients:
    """What the transform makes of (B, C, H, W).

    Attributes:
        low: (B, C, H/2, W/2), what is left of the picture.
        fine: (B, 2, C, 6, H/2, W/2), level 1: real and imaginary part, channel, direction
            (15, 45, 75, 105, 135 and 165 degrees).
        coarse: (B, 2, C, 6, H/4, W/4), level 2 likewise.
    """

    low: Tensor
    fine: Tensor
    coarse: Tensor


def _alternate(filter_: tuple[float, ...], sign: int) -> list[float]:
    return [sign * value * (-1) ** i for i, value in enumerate(filter_)]


def _level_1(like: Tensor, *, back: bool) -> Tensor:
    """Return the filters of level 1, (2, 7), low-pass first."""
    high = _alternate(LOW_5, 1) if back else _alternate(LOW_7, -1)
    low = [*LOW_7] if back else [0.0, *LOW_5, 0.0]
    return like.new_tensor([low, [0.0, *high, 0.0] if back else high])


def _level_2(like: Tensor) -> Tensor:
    """Return the filters of level 2, (4, 20): trees b and a low, a and b high.

    Each tree's samples are every second one, so its taps have gaps; a row gives the factors of the
    samples from 8 before to 11 behind each fourth.
    """
    filters = like.new_zeros(4, _TAPS_2)
    tree_a = like.new_tensor(TREE_A)
    tree_b = tree_a.flip(0)
    filters[0, 0::2], filters[1, 1::2] = tree_b.flip(0), tree_a.flip(0)
    signs = like.new_tensor(_alternate((1.0,) * len(TREE_A), 1))
    high_a = tree_b * signs
    filters[2, 1::2], filters[3, 0::2] = high_a.flip(0), high_a
    return filters


def _mirror(maps: Tensor, margin: int) -> Tensor:
    """Return (..., H, W) as (..., H + 2 margin, W), the edge rows repeated first."""
    top, bottom = maps[..., :margin, :].flip(-2), maps[..., -margin:, :].flip(-2)
    return torch.cat([top, maps, bottom], -2)


def _unmirror(maps: Tensor, margin: int) -> Tensor:
    """The transpose of `_mirror`: what lies in the margins is added to where it came from."""
    top, core, bottom = maps[..., :margin, :], maps[..., margin:-margin, :], maps[..., -margin:, :]
    rest = core.shape[-2] - margin
    return core + F.pad(top.flip(-2), (0, 0, 0, rest)) + F.pad(bottom.flip(-2), (0, 0, rest, 0))


def _filter_1(maps: Tensor, filter_: Tensor) -> Tensor:
    """Filter columns of (N, H, W) by one filter of level 1."""
    padded = _mirror(maps, _MARGIN_1)[:, None]
    return F.conv2d(padded, filter_.flip(0)[None, None, :, None])[:, 0]


def _split_2(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return low and high part, both (N, H/2, W), of (N, H, W) along columns."""
    filters = _level_2(maps)[:, None, :, None]
    made = F.conv2d(_mirror(maps, _MARGIN_2)[:, None], filters, stride=(MULTIPLE, 1))
    low, high = (made[:, i : i + 2].transpose(1, 2).flatten(1, 2) for i in (0, 2))
    return low, high


def _join_2(low: Tensor, high: Tensor) -> Tensor:
    """The transpose of `_split_2`, and its inverse."""
    trees = [part[:, tree::2] for part in (low, high) for tree in (0, 1)]
    filters = _level_2(low)[:, None, :, None]
    made = F.conv_transpose2d(torch.stack(trees, 1), filters, stride=(MULTIPLE, 1))
    return _unmirror(made[:, 0], _MARGIN_2)


def _turned(maps: Tensor) -> Tensor:
    return maps.transpose(-1, -2)


def _to_complex(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two complex maps, each (N, 2, H/2, W/2), in the 2x2 squares of (N, H, W)."""
    a, b = maps[:, 0::2, 0::2], maps[:, 0::2, 1::2]
    c, d = maps[:, 1::2, 0::2], maps[:, 1::2, 1::2]
    first, second = torch.stack([a - d, b + c], 1), torch.stack([a + d, b - c], 1)
    return first / math.sqrt(2), second / math.sqrt(2)


def _from_complex(first: Tensor, second: Tensor) -> Tensor:
    """Return the (N, H, W) of which `_to_complex` makes these."""
    (a, b), (d, c) = (first + second).unbind(1), (second - first).unbind(1)
    rows = [torch.stack(pair, -1).flatten(-2) for pair in ((a, b), (-c, d))]
    return torch.stack(rows, -2).flatten(1, 2) / math.sqrt(2)


def _bands(high_low: Tensor, high_high: Tensor, low_high: Tensor) -> Tensor:
    """Return the six directions, (N, 2, 6, H/2, W/2), of three maps (N, H, W)."""
    made = [_to_complex(maps) for maps in (high_low, high_high, low_high)]
    order = [first for first, _ in made] + [second for _, second in reversed(made)]
    return torch.stack(order, 2)


def _unbands(bands: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three maps of which `_bands` makes these."""
    pairs = [_from_complex(bands[:, :, i], bands[:, :, 5 - i]) for i in range(3)]
    return pairs[0], pairs[1], pairs[2]


def _filter_pair(maps: Tensor) -> tuple[Tensor, Tensor]:
    low, high = _level_1(maps, back=False)
    return _filter_1(maps, low), _filter_1(maps, high)


def transform(picture: Tensor) -> Coefficients:
    """Return the coefficients of (B, C, H, W); every channel by itself.

    Raises:
        CmudrnError: a side is no multiple of 4, or shorter than 8.
    """
    batch, channels, height, width = picture.shape
    if min(height, width) < SMALLEST or height % MULTIPLE or width % MULTIPLE:
        raise CmudrnError(
            f"The wavelet transform takes sides that are multiples of {MULTIPLE}, of {SMALLEST} or "
            f"more; this picture has {height}x{width}."
        )
    low, high = _filter_pair(picture.flatten(0, 1))
    maps, low_high = map(_turned, _filter_pair(_turned(low)))
    high_low, high_high = map(_turned, _filter_pair(_turned(high)))
    fine = _bands(high_low, high_high, low_high)
    low, high = _split_2(maps)
    rest, low_high = map(_turned, _split_2(_turned(low)))
    high_low, high_high = map(_turned, _split_2(_turned(high)))
    coarse = _bands(high_low, high_high, low_high)
    fine, coarse = (b.view(batch, channels, *b.shape[1:]).transpose(1, 2) for b in (fine, coarse))
    return Coefficients(rest.view(batch, channels, *rest.shape[1:]), fine, coarse)


def inverse(coefficients: Coefficients) -> Tensor:
    """Return the (B, C, H, W) that coefficients stand for."""
    batch, channels = coefficients.low.shape[:2]
    fine, coarse = (
        bands.transpose(1, 2).flatten(0, 1) for bands in (coefficients.fine, coefficients.coarse)
    )
    high_low, high_high, low_high = _unbands(coarse)
    low = _turned(_join_2(_turned(coefficients.low.flatten(0, 1)), _turned(low_high)))
    maps = _join_2(low, _turned(_join_2(_turned(high_low), _turned(high_high))))
    filter_low, filter_high = _level_1(maps, back=True)

    def join(low: Tensor, high: Tensor) -> Tensor:
        return _filter_1(low, filter_low) + _filter_1(high, filter_high)

    high_low, high_high, low_high = _unbands(fine)
    low = _turned(join(_turned(maps), _turned(low_high)))
    picture = join(low, _turned(join(_turned(high_low), _turned(high_high))))
    return picture.view(batch, channels, *picture.shape[1:])
