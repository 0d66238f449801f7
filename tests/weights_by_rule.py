"""Weights that anyone can make again from their names and shapes."""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

SHIFTED = {
    "running_mean": (0.0, 0.05),
    "moving_mean": (0.0, 0.05),
    "bias": (0.0, 0.1),
    "beta": (0.0, 0.1),
    "gamma": (1.0, 0.1),
    "alpha": (0.25, 0.02),
}
"""Last part of a name -> (mean, deviation) of its values."""


def make_weight(
    name: str, shape: tuple[int, ...], *, gain: float = 1.0, keras: bool = False
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Return the value of a weight by the rule of the golden files.

    Args:
        name: with dots; the text after the last says what the weight is.
        shape: of the weight.
        gain: of kernels.
        keras: whether the last dimension, not the first, is the output's.
    """
    last = name.rpartition(".")[2]
    if last in ("num_batches_tracked", "queue_ptr"):
        return np.zeros(shape, np.int64)
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = random.standard_normal(shape)
    if last in ("running_var", "moving_variance"):
        value = 1 + 0.1 * np.abs(z)
    elif last in SHIFTED or len(shape) == 1:
        mean, deviation = SHIFTED.get(last, (0.25, 0.02) if shape == (1,) else (1.0, 0.1))
        value = mean + deviation * z
    else:
        value = gain / math.sqrt(math.prod(shape[:-1] if keras else shape[1:])) * z
    return value.astype(np.float32)


def make_input(shape: tuple[int, ...], seed: int = 20230705) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1) of that shape."""
    return np.random.Generator(np.random.PCG64(seed)).random(shape).astype(np.float32)
