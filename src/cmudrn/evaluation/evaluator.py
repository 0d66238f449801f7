"""Every method on every pair of a dataset: one row of scores a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cmudrn.datasets import Dataset, Pair
from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.evaluation.costs import UNKNOWN_COST, Cost
from cmudrn.evaluation.methods import INPUT, Method, input_method
from cmudrn.evaluation.metrics import score
from cmudrn.image import Image

OnPair = Callable[[int, int], None]
"""Called with the number of pictures done and of all pictures."""


@dataclass(frozen=True)
class Scores:
    """One method's scores on one picture.

    Attributes:
        dataset: the set's name.
        method: the method's name.
        picture: the pair's name.
        values: protocol -> score.
        seconds: the method took; 0 where that says nothing about it.
        pixels: of the picture.
        cost: what is known of the method.
    """

    dataset: str
    method: str
    picture: str
    values: dict[str, float]
    seconds: float
    pixels: int
    cost: Cost = UNKNOWN_COST


def evaluate(
    name: str,
    dataset: Dataset,
    methods: Sequence[Method],
    *,
    limit: int | None = None,
    on_pair: OnPair | None = None,
) -> list[Scores]:
    """Return the scores of the degraded pictures themselves, and of every method.

    Args:
        name: of the set, for the table.
        dataset: pairs.
        methods: of different names.
        limit: use the first so many pictures only.
        on_pair: told of progress.

    Raises:
        CmudrnError: two methods have one name, a file is wrong, or a method returns something
            that is no picture of the pair's shape.
    """
    names = [INPUT, *(method.name for method in methods)]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise InvalidSettingError(f"Two rows of the table would be called {doubled.pop()!r}.")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    rows = []
    for index in range(count):
        pair = dataset[index]
        rows += [_score(name, method, pair) for method in (input_method(), *methods)]
        if on_pair:
            on_pair(index + 1, count)
    return rows


def _score(name: str, method: Method, pair: Pair) -> Scores:
    start = time.perf_counter()
    restored = method.restore(pair)
    seconds = time.perf_counter() - start if method.timed else 0.0
    _check(restored, method, pair)
    values = score(restored, pair.clean, pair.degraded)
    pixels = pair.clean.shape[0] * pair.clean.shape[1]
    return Scores(name, method.name, pair.name, values, seconds, pixels, method.cost)


def _check(restored: Image, method: Method, pair: Pair) -> None:
    if restored.shape != pair.clean.shape:
        raise CmudrnError(
            f"{method.name} made {pair.name} of shape {restored.shape} "
            f"instead of {pair.clean.shape}."
        )
    if not np.isfinite(restored).all():
        raise CmudrnError(f"{method.name} put values that are no numbers into {pair.name}.")
