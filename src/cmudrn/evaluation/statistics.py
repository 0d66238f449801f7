"""What scores of a few pictures say about the mean over many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and the interval in which the mean over many such pictures lies.

    Attributes:
        mean: over the pictures.
        low: lower end of the bootstrap's 95 % interval.
        high: upper end.
    """

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return the mean of values and its 95 % interval (percentiles of 10,000 resamples).

    Values that are no numbers are left out: pictures for which a protocol has no score. Where
    nothing is left, the estimate is no number either.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    numbers = np.asarray(values, np.float64)
    numbers = numbers[~np.isnan(numbers)]
    if not numbers.size:
        return Estimate(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(numbers), size=(RESAMPLES, len(numbers)))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(numbers[drawn].mean(1), [tail, 100 - tail])
    return Estimate(float(numbers.mean()), float(low), float(high))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of second minus first on the same pictures, with its 95 % interval."""
    return bootstrap((np.asarray(second) - np.asarray(first)).tolist())
