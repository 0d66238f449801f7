"""Calibrate the weather score of the shipped model and measure its accuracy.

    python tools/fit_weather_classifier.py CLEAN_PICTURES KODAK24

Fits src/cmudrn/restoration/weather_classifier.json on windows of CLEAN_PICTURES (other photographs
than Kodak's) and prints the confusion table of Kodak24. Both use every weather of
`cmudrn.weather.WEATHERS` and the clean images; the fit at random severities from 1.5 to 4.5, the
test at 3 and at 1.5.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cmudrn
from cmudrn.image import read_image
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.restoration.weather_classifier import (
    CALIBRATION_PATH,
    CLASSES,
    Calibration,
    measure,
    read_calibration,
)
from cmudrn.weather import WEATHERS

PICTURES, SIDE = 40, 256
"""How many pictures the fit takes, and the side of the window it cuts from each, pixels."""

TEST_LEVELS = (3.0, 1.5)

PENALTY = 0.003
"""Of squared weights, against overfitting."""

Row = tuple[str, float, NDArray[np.float64]]
"""Weather, severity, what `measure` returned."""


@cache
def restorer() -> cmudrn.Restorer:
    return cmudrn.load(threads=1)


def class_of(weather: str) -> str:
    return next((name for name in CLASSES if name in weather), "clear")


def look(image: NDArray[np.float32]) -> NDArray[np.float64]:
    stored = np.rint(image * 255).astype(np.uint8)  # cameras give 8 bits
    return measure(
        stored, restore_image(restorer(), stored, RestoreSettings(layers=True)).residuals
    )


def rows_of(job: tuple[Path, int, bool]) -> list[Row]:
    """Measure one picture in all weathers."""
    path, seed, is_test = job
    rng = np.random.default_rng([seed, is_test])
    whole = read_image(path)
    spare = [max(0, size - SIDE) for size in whole.shape[:2]]
    y, x = (size // 2 for size in spare) if is_test else (int(rng.integers(s + 1)) for s in spare)
    clean = whole[y : y + SIDE, x : x + SIDE]
    rows: list[Row] = [("clear", 0.0, look(clean))]
    for weather in WEATHERS.values():
        name = next(key for key, value in WEATHERS.items() if value is weather)
        for severity in TEST_LEVELS if is_test else (float(rng.uniform(1.5, 4.5)),):
            degraded = replace(weather, severity=severity)(clean, rng).degraded
            rows.append((name, severity, look(degraded)))
    return rows


def measure_all(paths: list[Path], *, is_test: bool) -> list[Row]:
    with ProcessPoolExecutor(2) as pool:
        jobs = [(path, seed, is_test) for seed, path in enumerate(paths)]
        return [row for rows in pool.map(rows_of, jobs) for row in rows]


def fit(rows: list[Row]) -> None:
    labels = np.array([CLASSES.index(class_of(weather)) for weather, _, _ in rows])
    info = restorer().info
    found = regress(np.array([measured for *_, measured in rows]), labels, info.sha256)
    numbers = {
        key: np.round(getattr(found, key), 5).tolist()
        for key in ("mean", "scale", "weights", "bias")
    }
    record = {"model": info.name, "sha256": info.sha256, "classes": CLASSES, **numbers}
    CALIBRATION_PATH.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    read_calibration.cache_clear()


def regress(rows: NDArray[np.float64], labels: NDArray[np.int64], sha256: str) -> Calibration:
    """Fit the regression by gradient descent; every class counts alike."""
    mean, scale = rows.mean(0), rows.std(0) + 1e-9
    x = np.hstack([(rows - mean) / scale, np.ones((len(rows), 1))])
    wanted = np.eye(len(CLASSES))[labels]
    share = (wanted / wanted.sum(0)).sum(1, keepdims=True) / len(CLASSES)
    weights = np.zeros((len(CLASSES), x.shape[1]))
    speed = np.zeros_like(weights)
    for _ in range(20_000):
        logits = x @ weights.T
        likely = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        slope = ((likely - wanted) * share).T @ x
        slope[:, :-1] += PENALTY * weights[:, :-1]
        speed = 0.9 * speed - 0.05 * slope
        weights += speed
    return Calibration(sha256, mean, scale, weights[:, :-1], weights[:, -1])


def print_table(rows: list[Row]) -> None:
    groups: dict[tuple[str, float], list[NDArray[np.float64]]] = defaultdict(list)
    for weather, severity, measured in rows:
        groups[weather, severity].append(measured)
    calibration = read_calibration()
    print("| truth | severity | rain | snow | clear | right | passed by --gate |")
    print("|---|---|---|---|---|---|---|")
    for (weather, severity), measured in sorted(groups.items(), key=lambda item: -item[0][1]):
        scores = [calibration(numbers) for numbers in measured]
        found = Counter(score.weather for score in scores)
        counts = " | ".join(str(found[name]) for name in CLASSES)
        right = found[class_of(weather)] / len(scores)
        passed = sum(score.passes for score in scores)
        print(f"| {weather} | {severity:g} | {counts} | {right:.0%} | {passed} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder of clean pictures to fit on")
    parser.add_argument("kodak", type=Path, help="folder of Kodak24, to test on")
    options = parser.parse_args()
    found = sorted(path for path in options.pictures.rglob("*") if path.suffix in (".jpg", ".png"))
    order = np.random.default_rng(4).permutation(len(found))[:PICTURES]
    fit(measure_all([found[i] for i in order], is_test=False))
    print(f"model {restorer().info.sha256[:12]}\n")
    print_table(measure_all(sorted(options.kodak.glob("*.png")), is_test=True))
