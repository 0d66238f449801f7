"""Time models against each other on one engine, in interleaved rounds: a table for docs/speed.md.

    python benchmarks/models.py cmudrn cmudrn-25k --sides 500 1000 --rounds 9

A round runs every model once on every engine. Beside the elapsed time stands the processor time of
all threads, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict

import numpy as np

from cmudrn.engines import open_engine
from cmudrn.engines.base import Engine, available_cores


def open_engines(models: list[str], threads: int) -> dict[tuple[str, str], Engine]:
    """Return ONNX Runtime and the engine that `auto` takes in float32, for every model."""
    return {
        (engine, model): open_engine(model, name, threads, "fp32")
        for engine, name in (("ONNX Runtime", "onnx"), ("native", "native"))
        for model in models
    }


def measure(
    engines: dict[tuple[str, str], Engine], side: int, rounds: int
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the median elapsed and processor time in ms of a square image of about `side`."""
    spent: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for number in range(rounds + 1):
        for key, engine in engines.items():
            size = -(-side // engine.info.alignment) * engine.info.alignment
            batch = np.random.default_rng(number).random((1, 3, size, size), np.float32)
            wall, processor = time.perf_counter(), time.process_time()
            engine(batch)
            times = (time.perf_counter() - wall, time.process_time() - processor)
            if number:  # the first round opens the networks
                spent[key].append((1e3 * times[0], 1e3 * times[1]))
    return {
        key: (statistics.median(t[0] for t in all_), statistics.median(t[1] for t in all_))
        for key, all_ in spent.items()
    }


def table(models: list[str], sides: list[int], rounds: int, threads: int) -> list[str]:
    """Return the rows; the last column says how many times as fast the first model is."""
    rows = [
        "| engine | side | " + " | ".join(f"{m}, ms (processor)" for m in models) + " | times |"
    ]
    rows.append("|---" * (len(models) + 3) + "|")
    engines = open_engines(models, threads)
    for side in sides:
        found = measure(engines, side, rounds)
        for engine in dict.fromkeys(name for name, _ in engines):
            mine = [found[engine, model] for model in models]
            cells = [f"{wall:.0f} ({processor:.0f})" for wall, processor in mine]
            times = " / ".join(f"{mine[-1][i] / mine[0][i]:.1f}" for i in (0, 1))
            rows.append(f"| {engine} | {side} | " + " | ".join(cells) + f" | {times} |")
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sides", nargs="+", type=int, default=[500, 1000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args()
    rows = table(options.models, options.sides, options.rounds, options.threads)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
