"""Calibrate the weather score and say how good it is.

python benchmarks/weather_score.py fit CLEAN_PICTURES    fits src/cmudrn/restore/score.json
python benchmarks/weather_score.py test KODAK24          prints the confusion table
python benchmarks/weather_score.py all CLEAN_PICTURES KODAK24

Fit and test share neither pictures nor random numbers. Both see every weather of
`cmudrn.weather.WEATHERS` and the clean pictures; the fit at a severity drawn from 1.5 to 4.5.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cmudrn
from cmudrn.image import read_image
from cmudrn.restore.score import CALIBRATION_PATH, CLASSES, Calibration, measure, read_calibration
from cmudrn.weather import WEATHERS

PICTURES, SIDE = 96, 384
"""How many pictures the fit takes, and the side of the window it cuts from each, pixels."""

PENALTY = 0.003
"""Of squared weights, against overfitting."""


def class_of(weather: str) -> str:
    return next((name for name in CLASSES if name in weather), "clear")


def look(restorer: cmudrn.Restorer, image: NDArray[np.float32]) -> NDArray[np.float64]:
    # Cameras give 8 bits; so does this.
    stored = np.rint(image * 255).astype(np.uint8)
    return measure(stored, restorer.layers(stored))


def degrade(
    clean: NDArray[np.float32], weather: str, severity: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    if weather == "clear":
        return clean
    return replace(WEATHERS[weather], severity=severity)(clean, rng).degraded


def fit(folder: Path, restorer: cmudrn.Restorer) -> None:
    rng = np.random.default_rng(4)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    rows, labels = [], []
    for path in rng.permutation(np.array(paths, object))[:PICTURES]:
        whole = read_image(path)
        y, x = (int(rng.integers(0, max(1, size - SIDE + 1))) for size in whole.shape[:2])
        clean = whole[y : y + SIDE, x : x + SIDE]
        for weather in ("clear", *WEATHERS):
            severity = float(rng.uniform(1.5, 4.5))
            rows.append(look(restorer, degrade(clean, weather, severity, rng)))
            labels.append(CLASSES.index(class_of(weather)))
    found = regress(np.array(rows), np.array(labels), restorer.info.sha256)
    record = {
        "model": restorer.info.name,
        "sha256": found.sha256,
        "classes": CLASSES,
        **{key: np.round(getattr(found, key), 5).tolist() for key in ("mean", "scale")},
        **{key: np.round(getattr(found, key), 5).tolist() for key in ("weights", "bias")},
    }
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


def test(folder: Path, restorer: cmudrn.Restorer) -> None:
    calibration, pictures = read_calibration(), sorted(folder.glob("*.png"))
    severities = {weather: (1.5, 3.0) for weather in WEATHERS}
    print(f"model {restorer.info.sha256[:12]}, {len(pictures)} pictures a row\n")
    print("| truth | severity | rain | snow | clear | right | passed by --gate |")
    print("|---|---|---|---|---|---|---|")
    for weather, levels in {"clear": (0.0,), **severities}.items():
        for severity in levels:
            scores = []
            for number, path in enumerate(pictures):
                rng = np.random.default_rng([24, number])
                image = degrade(read_image(path), weather, severity, rng)
                scores.append(calibration(look(restorer, image)))
            found = Counter(score.weather for score in scores)
            right = found[class_of(weather)] / len(scores)
            passed = sum(score.passes for score in scores)
            counts = " | ".join(str(found[name]) for name in CLASSES)
            print(f"| {weather} | {severity:g} | {counts} | {right:.0%} | {passed} |", flush=True)


if __name__ == "__main__":
    command, *folders = sys.argv[1:]
    with_model = cmudrn.load(threads=2)
    if command in ("fit", "all"):
        fit(Path(folders[0]), with_model)
    if command in ("test", "all"):
        test(Path(folders[-1]), with_model)
