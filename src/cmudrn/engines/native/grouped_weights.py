"""Weights of convolutions in other forms: without groups, in fewer groups, untransposed."""

from __future__ import annotations

import numpy as np

from cmudrn.models.layers import Floats, Layer

MIN_GROUP_CHANNELS = 8
"""Outputs of a group; groups of fewer run together, with zeros between them."""


def dense(weight: Floats, groups: int) -> Floats:
    """Return the weights of a convolution in groups as those of one without."""
    outputs, each, *kernel = weight.shape
    dense = np.zeros((outputs, each * groups, *kernel), np.float32)
    own = outputs // groups
    for g in range(groups):
        dense[g * own : (g + 1) * own, g * each : (g + 1) * each] = weight[g * own : (g + 1) * own]
    return dense


def merge_groups(weight: Floats, groups: int) -> tuple[Floats, int]:
    """Return weights and groups with at least `MIN_GROUP_CHANNELS` outputs each, if there are."""
    own = len(weight) // groups
    if groups == 1 or own >= MIN_GROUP_CHANNELS:
        return weight, groups
    divisors = (n for n in range(1, groups + 1) if groups % n == 0)
    together = next(n for n in divisors if own * n >= MIN_GROUP_CHANNELS or n == groups)
    parts = np.split(weight, groups // together)
    return np.concatenate([dense(part, together) for part in parts]), groups // together


def _transposed_taps(kernel: int) -> list[tuple[int, int, int]]:
    """Return (pixel of the block, tap of the convolution, tap of the transposed one)."""
    if kernel == 2:
        return [(0, 0, 0), (1, 0, 1)]
    return [(0, 0, 3), (0, 1, 1), (1, 1, 2), (1, 2, 0)]


def transposed_as_convolution(layer: Layer) -> tuple[Floats, Floats | None]:
    """Return a transposed convolution as one that makes the pixels of a 2x2 block as channels.

    Output channel (g, i, j, c) is channel c of group g in the pixel (i, j) of a block.

    Args:
        layer: 2x2 or 4x4, stride 2.

    Returns:
        Weights (4 C_out, C_in / groups, k, k), with k 1 or 3, and the bias (4 C_out,).
    """
    weight, groups = layer.weight, layer.groups
    assert weight is not None
    inputs, each, kernel, _ = weight.shape
    side = 1 if kernel == 2 else 3
    by_group = weight.reshape(groups, inputs // groups, each, kernel, kernel)
    blocks = np.zeros((groups, 2, 2, each, inputs // groups, side, side), np.float32)
    for i, y, ky in _transposed_taps(kernel):
        for j, x, kx in _transposed_taps(kernel):
            blocks[:, i, j, :, :, y, x] = by_group[:, :, :, ky, kx].swapaxes(1, 2)
    bias = layer.bias
    if bias is not None:
        bias = np.tile(bias.reshape(groups, 1, each), (1, 4, 1)).ravel()
    return blocks.reshape(-1, inputs // groups, side, side), bias


def mixing_factors(weight: Floats) -> Floats | None:
    """Return how a 1x1 convolution mixes equal channels of two to four parts, or None.

    Args:
        weight: (C, C).

    Returns:
        (parts, parts, C / parts): the factor of part j in part i, for each channel; None where
        the convolution does more than that.
    """
    channels = len(weight)
    for parts in (2, 3, 4):
        each = channels // parts
        if weight.shape != (parts * each, parts * each) or each < 2:
            continue
        cells = weight.reshape(parts, each, parts, each).transpose(0, 2, 1, 3)
        factors = np.diagonal(cells, axis1=2, axis2=3)
        if np.count_nonzero(cells) == np.count_nonzero(factors):
            return np.ascontiguousarray(factors)
    return None
