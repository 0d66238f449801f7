"""Whether two rows of a study differ: the paired difference over seeds, and over pictures too.

    python tools/compare_rows.py docs/runs/studies baselines cmudrn drn-rain csd-rain

Runs of one seed saw the same patches, so they are paired. Prints the mean difference of the second
row from the first, its 95 % interval over the seeds (Student's t), and, where both rows have the
scores of each picture, the interval over the pictures of their means over the seeds, and how many
of the pictures gain.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from scipy import stats

EACH = "psnr_rgb of each"


def cell(run: Path, study: str, weather: str) -> dict[str, Any]:
    """Return a run's scores on a weather, of this study or of one with the same test."""
    found = [run / f"scores.{study}.json", *sorted(run.glob("scores.*.json"))]
    path = next(path for path in found if path.is_file())
    cells = json.loads(path.read_text())["cells"]
    return next(c for c in cells if c["weather"] == weather and c["method"] == "model")


def compare(runs: Path, study: str, rows: list[str], weather: str) -> str:
    """Return a sentence on the difference of two rows."""
    seeds = [
        seed for seed in range(10) if all((runs / f"{row}-seed{seed}").is_dir() for row in rows)
    ]
    first, second = ([cell(runs / f"{r}-seed{s}", study, weather) for s in seeds] for r in rows)
    pairs = list(zip(first, second, strict=True))
    differences = [b["psnr_rgb"] - a["psnr_rgb"] for a, b in pairs]
    mean, span = statistics.fmean(differences), "1 seed"
    if len(differences) > 1:
        span = f"{interval(differences)}, {len(seeds)} seeds"
    text = f"{weather}: {rows[1]} - {rows[0]} = {mean:+.2f} dB ({span})"
    if all(EACH in one for pair in pairs for one in pair):
        gains = [
            statistics.fmean(b[EACH][i] - a[EACH][i] for a, b in pairs)
            for i in range(len(first[0][EACH]))
        ]
        better = sum(gain > 0 for gain in gains)
        text += f"; over pictures {interval(gains)}, {better} of {len(gains)} gain"
    return text


def interval(differences: list[float]) -> str:
    """Return the 95 % interval of the mean of two or more differences, by Student's t."""
    count, mean = len(differences), statistics.fmean(differences)
    reach = stats.t.ppf(0.975, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return f"{mean - reach:+.2f} to {mean + reach:+.2f}"


def main() -> None:
    """Print a line for each weather."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("study")
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("weathers", nargs="+")
    given = parser.parse_args()
    for weather in given.weathers:
        print(compare(given.runs, given.study, [given.first, given.second], weather))


if __name__ == "__main__":
    main()
