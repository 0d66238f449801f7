"""Compare expected and measured times of `--budget-ms`: a table for docs/speed.md.

    python benchmarks/dial.py

Profiles this machine as `cmudrn bench` does. Then runs what the profile chooses for several sizes
and budgets, each once a round.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from cmudrn.engines import open_engine
from cmudrn.restoration.profile import measure_profile, pick_depth

SIZES = ((250, 250), (500, 500), (720, 1280), (1080, 1920))
BUDGETS_MS = (10, 30, 100, 300, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cmudrn-25k")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    profile = measure_profile(lambda n: open_engine(chosen.model, threads=n), "auto auto")
    engines = {n: open_engine(chosen.model, threads=n) for n in profile.costs}
    info = engines[1].info
    picks = {
        (size, budget): pick_depth(profile, info, size[0] * size[1], budget)
        for size in SIZES
        for budget in BUDGETS_MS
    }
    pictures = {size: np.random.default_rng(0).random((1, 3, *size), np.float32) for size in SIZES}
    seconds: dict[tuple[tuple[int, int], int], list[float]] = {key: [] for key in picks}
    for round_ in range(chosen.rounds + 1):
        for (size, budget), pick in picks.items():
            start = time.perf_counter()
            engines[pick.threads](pictures[size], stages=pick.stages, recursions=pick.recursions)
            if round_:  # the first warms up
                seconds[size, budget].append(time.perf_counter() - start)
    print("| size | budget, ms | T | S | threads | expected, ms | measured, ms |")
    print("|---|---|---|---|---|---|---|")
    for (size, budget), pick in picks.items():
        print(f"| {size[1]}x{size[0]} | {budget} | {pick.stages} | {pick.recursions} ", end="")
        print(f"| {pick.threads} | {pick.expected_ms:.0f} ", end="")
        print(f"| {1e3 * statistics.median(seconds[size, budget]):.0f} |")


if __name__ == "__main__":
    main()
