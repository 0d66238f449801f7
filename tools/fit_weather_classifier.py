"""Calibrate the weather score of a model and measure how often it errs.

    python tools/fit_weather_classifier.py MODEL PHOTOGRAPHS

PHOTOGRAPHS holds the folders `train`, `train_urban`, `val`, `val_urban` and `test_kodak24` of clean
pictures. A window of every training photograph is measured as it is and in one weather, of random
severity; all weathers but those in `IGNORED` and `LATER` take turns. The regression fitted to them
goes into src/cmudrn/restoration/weather_classifier.json under the model's name. The printed table
shows how it judges the other three folders: whole clear pictures, and their middles in every
weather. Where `MAX_WRONG` of the clear pictures or more are taken for weather, the model gets no
score.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cmudrn
from cmudrn.image import Image, read_image
from cmudrn.models import ModelInfo
from cmudrn.restoration import Restorer, RestoreSettings, restore_image
from cmudrn.restoration.weather_classifier import (
    CALIBRATION_PATH,
    CLASSES,
    GATE,
    Calibration,
    measure,
    read_calibrations,
)
from cmudrn.weather import WEATHERS, Weather

FITTED = ("train", "train_urban")
TESTED = ("val", "val_urban", "test_kodak24")

IGNORED = ("near-rain",)
"""Out-of-focus streaks so faint that models leave them: they look like clear weather to the score,
and would only blur where clear ends."""

LATER = ("driving-snow", "misty-rain", "local-rain", "local-snow")
"""Weathers that were made after the shipped scores had been fitted."""

SIDES = (224, 448)
"""Least and greatest side of the windows of the fit, pixels."""
TEST_SIDE = 320
SEVERITIES = (1.5, 4.5)
TEST_SEVERITY = 3.0

SHARES = {"rain": 1.0, "snow": 1.0, "clear": 2.0}
"""How much each class weighs in the fit: to touch a clear picture is worse than to pass weather."""

PENALTY = 0.003
"""Of squared weights, against overfitting."""

MAX_WRONG = 0.05

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Row:
    """One measured picture: its weather, whether it is whole, what `measure` returned."""

    weather: str
    whole: bool
    measured: NDArray[np.float64]


def all_weathers() -> dict[str, Weather]:
    """Return the weathers of the fit by name."""
    return {name: weather for name, weather in WEATHERS.items() if name not in LATER}


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def class_of(weather: str) -> str:
    """Return the class that a weather belongs to."""
    return next((name for name in CLASSES if name in weather), "clear")


def look(restorer: Restorer, image: Image) -> NDArray[np.float64]:
    """Return what the score sees of an image, stored with 8 bits as cameras do."""
    stored = np.rint(image * 255).astype(np.uint8)
    settings = RestoreSettings(layers=True, dehazing=False)
    return measure(stored, restore_image(restorer, stored, settings).residuals)


def window(image: Image, side: int, rng: np.random.Generator | None) -> Image:
    """Return a square window at a random place, or the middle."""
    spare = [max(0, length - side) for length in image.shape[:2]]
    y, x = (int(rng.integers(s + 1)) if rng else s // 2 for s in spare)
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def rows_to_fit(restorer: Restorer, photographs: Path) -> Iterator[Row]:
    """Yield a clear row for every training photograph, and one in a weather."""
    weathers = all_weathers()
    for folder in FITTED:
        for number, path in enumerate(pictures(photographs / folder)):
            rng = np.random.default_rng([7, number])
            side = int(rng.integers(*SIDES))
            clean = window(read_image(path), side, rng)
            yield Row("clear", False, look(restorer, clean))
            name = list(weathers)[number % len(weathers)]
            if name not in IGNORED:
                degraded = render(weathers[name], clean, float(rng.uniform(*SEVERITIES)), rng)
                yield Row(name, False, look(restorer, degraded))


def rows_to_test(restorer: Restorer, photographs: Path) -> Iterator[Row]:
    """Yield each picture of the other folders, whole and clear, and its middle in all weathers."""
    for folder in TESTED:
        for number, path in enumerate(pictures(photographs / folder)):
            rng = np.random.default_rng([7, number])
            clean = read_image(path)
            yield Row("clear", True, look(restorer, clean))
            clean = window(clean, TEST_SIDE, None)
            for name, weather in all_weathers().items():
                degraded = render(weather, clean, TEST_SEVERITY, rng)
                yield Row(name, False, look(restorer, degraded))


def render(weather: Weather, clean: Image, severity: float, rng: np.random.Generator) -> Image:
    """Return an image in a weather of a severity."""
    return replace(weather, severity=severity)(clean, rng).degraded


def regress(rows: list[Row], info: ModelInfo) -> Calibration:
    """Fit the regression by gradient descent."""
    measured = np.array([row.measured for row in rows])
    labels = np.array([CLASSES.index(class_of(row.weather)) for row in rows])
    mean, scale = measured.mean(0), measured.std(0) + 1e-9
    x = np.hstack([(measured - mean) / scale, np.ones((len(rows), 1))])
    wanted = np.eye(len(CLASSES))[labels]
    shares = np.array([SHARES[name] for name in CLASSES])
    share = (wanted / wanted.sum(0) * shares).sum(1, keepdims=True) / len(CLASSES)
    weights = np.zeros((len(CLASSES), x.shape[1]))
    speed = np.zeros_like(weights)
    for _ in range(4_000):
        logits = x @ weights.T
        likely = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        slope = ((likely - wanted) * share).T @ x
        slope[:, :-1] += PENALTY * weights[:, :-1]
        speed = 0.9 * speed - 0.05 * slope
        weights += speed
    numbers = (mean, scale, weights[:, :-1], weights[:, -1])
    return Calibration(info.name, info.sha256, *(np.round(array, 5) for array in numbers))


def wrong_clear(calibration: Calibration, rows: list[Row]) -> float:
    """Return the share of the whole clear pictures that are taken for weather."""
    found = [calibration(row.measured).weather for row in rows if row.whole]
    return sum(weather != "clear" for weather in found) / len(found)


def table(calibration: Calibration, rows: list[Row]) -> str:
    """Return how the score judges the pictures of each weather, as Markdown."""
    lines = [f"| truth | {' | '.join(CLASSES)} | right | clear from {GATE:g} on |"]
    lines.append("|" + "---|" * (len(CLASSES) + 3))
    for weather in dict.fromkeys(row.weather for row in rows):
        scores = [calibration(row.measured) for row in rows if row.weather == weather]
        found = Counter(score.weather for score in scores)
        counts = " | ".join(str(found[name]) for name in CLASSES)
        right = found[class_of(weather)] / len(scores)
        passed = sum(score.passes for score in scores)
        lines.append(f"| {weather} | {counts} | {right:.0%} | {passed} |")
    return "\n".join(lines)


def calibrate(
    model: str | Path, photographs: Path, path: Path = CALIBRATION_PATH
) -> tuple[bool, str]:
    """Fit a model's score, put it into the file of calibrations or take it out of there.

    Returns:
        Whether the model has a score now, and the table of what was tested.
    """
    restorer = cmudrn.load(model, threads=1, precision="fp32")
    calibration = regress(list(rows_to_fit(restorer, photographs)), restorer.info)
    rows = list(rows_to_test(restorer, photographs))
    wrong = wrong_clear(calibration, rows)
    kept = wrong < MAX_WRONG
    store(restorer.info.name, calibration if kept else None, path)
    said = f"{wrong:.1%} of the clear pictures are taken for weather"
    return kept, f"{table(calibration, rows)}\n\n{said}{'' if kept else ': no score'}."


def store(name: str, calibration: Calibration | None, path: Path) -> None:
    """Put a model's calibration into a file, in the place of its earlier one; None takes it out."""
    records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    records.pop(name, None)
    if calibration:
        keys = ("mean", "scale", "weights", "bias")
        numbers = {key: getattr(calibration, key).tolist() for key in keys}
        records[name] = {"sha256": calibration.sha256, **numbers}
    path.write_text(json.dumps(dict(sorted(records.items()))) + "\n", encoding="utf-8")
    read_calibrations.cache_clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model's name, or a file")
    parser.add_argument("photographs", type=Path, help="folder of the folders of clean pictures")
    options = parser.parse_args()
    print(calibrate(options.model, options.photographs)[1])
