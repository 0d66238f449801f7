"""How long a model takes on this machine, and the depth that fits a budget of time."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.engines.base import Engine, available_cores
from cmudrn.errors import FileError, InvalidSettingError, TargetError
from cmudrn.files import atomic_file, cache_folder, make_folder
from cmudrn.models.info import ModelInfo
from cmudrn.restoration.pieces import run_network

OpenWith = Callable[[int], Engine]
"""Opens the engine with a number of threads."""

SIDE = 720
"""Pixels; of the square picture that is timed. A pixel of a smaller one takes less time, since its
maps stay in the processor's cache; one of a larger picture takes the same."""


MAX_PROFILE_BYTES = 1 << 16

RESERVE = 0.1
"""Part of a budget that is kept back: the same call may take that much longer the next time."""


@dataclass(frozen=True)
class Profile:
    """What `cmudrn bench` found.

    Attributes:
        sha256: hexadecimal hash of the model file that was timed.
        engine: what ran it, e.g. "auto auto" (engine and precision).
        costs: threads -> (fixed, per stage, per stage and recursion), each ms per megapixel.
    """

    sha256: str
    engine: str
    costs: dict[int, tuple[float, float, float]]

    def milliseconds(self, pixels: int, stages: int, recursions: int, threads: int) -> float:
        """Return how long a picture of so many pixels is expected to take, in ms."""
        fixed, stage, recursion = self.costs[threads]
        return (fixed + stages * (stage + recursion * recursions)) * pixels / 1e6


@dataclass(frozen=True)
class Choice:
    """A depth, the threads to run it with, and the expected time in ms."""

    stages: int
    recursions: int
    threads: int
    expected_ms: float


def pick_depth(profile: Profile, info: ModelInfo, pixels: int, budget_ms: float) -> Choice:
    """Return the deepest network that fits the budget, with the fewest threads that do it.

    A tenth of the budget is kept in reserve. Where nothing fits, the fastest is returned. Only
    depths that the model was trained for count.
    """
    every = [
        Choice(t, s, n, profile.milliseconds(pixels, t, s, n))
        for t, s in _depths(info)
        for n in profile.costs
    ]
    fitting = [choice for choice in every if choice.expected_ms <= (1 - RESERVE) * budget_ms]
    if not fitting:
        return min(every, key=lambda choice: choice.expected_ms)
    return max(fitting, key=lambda c: (c.stages * (1 + 7 * c.recursions), c.stages, -c.threads))


def _depths(info: ModelInfo) -> Iterator[tuple[int, int]]:
    if not info.elastic:
        yield info.stages, info.recursions
        return
    for stages in range(1, info.stages + 1):
        for recursions in range(1, info.recursions + 1):
            yield stages, recursions


def measure_profile(open_with: OpenWith, label: str, rounds: int = 5) -> Profile:
    """Return the profile of a model on this machine; takes some seconds.

    Args:
        open_with: opens the engine with a number of threads.
        label: what the engine is called.
        rounds: calls a depth; their median counts.

    Raises:
        InvalidSettingError: the model is of another project, whose depth cannot be chosen.
    """
    cores = available_cores()
    costs = {}
    for threads in sorted({1, max(1, cores // 2), cores}):
        engine = open_with(threads)
        if engine.info.network == "other":
            raise InvalidSettingError(
                "A time budget needs a model of this project, whose stages can be chosen.",
                setting="model",
            )
        costs[threads] = _costs(engine, rounds)
    return Profile(engine.info.sha256, label, costs)


def _costs(engine: Engine, rounds: int) -> tuple[float, float, float]:
    top = (engine.info.stages, engine.info.recursions)
    chosen = {(1, 1), (top[0], 1), (1, top[1]), top} if engine.info.adjustable else {top}
    rows = [((1, t, t * s), time_call(engine, SIDE, SIDE, t, s, rounds)) for t, s in sorted(chosen)]
    milliseconds = np.array([statistics.median(seconds) for _, seconds in rows]) * 1e9 / SIDE**2
    matrix = np.array([row for row, _ in rows], float) / milliseconds[:, None]  # relative errors
    kept = [0, 1, 2]
    while True:  # noise may make a cost negative: such a one is left out
        fitted = np.linalg.lstsq(matrix[:, kept], np.ones(len(rows)), rcond=None)[0]
        if fitted.min() >= 0 or len(kept) == 1:
            break
        kept.pop(int(fitted.argmin()))
    costs = dict(zip(kept, map(float, fitted), strict=True))
    return costs.get(0, 0.0), costs.get(1, 0.0), costs.get(2, 0.0)


def time_call(
    engine: Engine, height: int, width: int, stages: int, recursions: int, rounds: int
) -> list[float]:
    """Return the seconds of each of `rounds` calls on normal noise, after one to warm up."""
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(rounds + 1):
        batch = rng.normal(0.5, 0.2, (1, 3, height, width)).astype(np.float32)
        start = time.perf_counter()
        run_network(engine, batch, stages=stages, recursions=recursions)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def profile_path(info: ModelInfo, label: str) -> Path:
    """Return where the profile of a model and engine is kept for this user."""
    return cache_folder() / f"{info.sha256[:16]}-{label.replace(' ', '-')}.json"


def save_profile(profile: Profile, path: Path) -> None:
    """Write a profile; the old one stays whole until the new one is.

    Raises:
        TargetError: the file cannot be written.
    """
    try:
        make_folder(path.parent)
        with atomic_file(path) as file:
            file.write((json.dumps(asdict(profile), indent=2) + "\n").encode())
    except OSError as error:
        raise TargetError(
            f"Cannot write the profile {path}: {error.strerror}.", path=path
        ) from error


def load_profile(info: ModelInfo, label: str) -> Profile:
    """Return the profile that `cmudrn bench` wrote for this model and engine.

    Raises:
        FileError: there is none, or it is damaged.
    """
    path = profile_path(info, label)
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_PROFILE_BYTES)
        return _parse_profile(json.loads(text), info, label)
    except FileNotFoundError:
        raise FileError(
            "There is no speed profile yet: run `cmudrn bench` first.", path=path
        ) from None
    except OSError as error:
        raise FileError(
            f"Cannot read the speed profile {path}: {error.strerror}.", path=path
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(
            f"The speed profile {path} is damaged: run `cmudrn bench`.", path=path
        ) from error


def _parse_profile(record: dict[str, Any], info: ModelInfo, label: str) -> Profile:
    """Return the profile in a record.

    Raises:
        ValueError: it is of another model or engine, or its numbers cannot be.
    """
    if (record["sha256"], record["engine"]) != (info.sha256, label):
        raise ValueError("of another model")
    costs = {int(n): (float(a), float(b), float(c)) for n, (a, b, c) in record["costs"].items()}
    numbers = [number for cost in costs.values() for number in cost]
    if not costs or min(costs) < 1 or not all(0 <= number < 1e9 for number in numbers):
        raise ValueError("costs")
    return Profile(info.sha256, label, costs)
