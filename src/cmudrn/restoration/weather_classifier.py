"""Rain, snow or clear: a weather score from what each branch took out of a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError, ModelFileError
from cmudrn.image import Image, Pixels, to_float, to_rgb
from cmudrn.models.info import ModelInfo

CLASSES = ("rain", "snow", "clear")

CALIBRATION_PATH = Path(__file__).parent / "weather_classifier.json"
"""Written by tools/fit_weather_classifier.py."""

GATE = 0.8
"""A picture counts as clear from this score of clear on."""


@dataclass(frozen=True)
class WeatherScore:
    """How likely a picture shows each weather; the three add up to 1.

    Attributes:
        rain: in [0, 1].
        snow: in [0, 1].
        clear: in [0, 1].
    """

    rain: float
    snow: float
    clear: float

    @property
    def weather(self) -> str:
        """The likeliest of `CLASSES`."""
        return max(CLASSES, key=lambda name: float(getattr(self, name)))

    @property
    def passes(self) -> bool:
        """Whether the gate lets the picture through as it is."""
        return self.clear >= GATE


@dataclass(frozen=True)
class Calibration:
    """A multinomial logistic regression on the numbers of `measure`.

    Attributes:
        model: name of the model it was fitted to.
        sha256: hash of that model's file.
        mean: (F,) of each number over the pictures it was fitted to.
        scale: (F,) their standard deviations.
        weights: (3, F) in the order of `CLASSES`.
        bias: (3,).
    """

    model: str
    sha256: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, measured: NDArray[np.float64]) -> WeatherScore:
        """Return the score of a picture from what `measure` returned for it."""
        logits = self.weights @ ((measured - self.mean) / self.scale) + self.bias
        likely = np.exp(logits - logits.max())
        return WeatherScore(*(float(value) for value in likely / likely.sum()))


def is_scorable(info: ModelInfo) -> bool:
    """Return whether the weather score was calibrated for this very model."""
    return {"rain", "snow"} <= set(info.tasks) and info.sha256 in read_calibrations()


def check_scorable(info: ModelInfo) -> None:
    """Refuse a model for which the weather score means nothing.

    Raises:
        ModelFileError: it has no branches for rain and snow, or the score was calibrated for
            another model.
    """
    if not {"rain", "snow"} <= set(info.tasks):
        raise ModelFileError(
            f"The model {info.name} has no branches for rain and snow; it gives no weather score."
        )
    if not is_scorable(info):
        raise ModelFileError(
            f"The weather score is not calibrated for the model {info.name}; "
            f"it is for {' and '.join(one.model for one in read_calibrations().values())}."
        )


def score_weather(
    info: ModelInfo, degraded: Pixels, residuals: Mapping[str, Image]
) -> WeatherScore:
    """Return the weather score of a picture.

    Args:
        info: of the model, one that `check_scorable` lets through.
        degraded: (H, W, 3) RGB or (H, W) grey; uint8, uint16, or float32 in [0, 1].
        residuals: `RestoredImage.residuals` for it, at the model's own depth.
    """
    return read_calibrations()[info.sha256](measure(degraded, residuals))


def measure(degraded: Pixels, residuals: Mapping[str, Image]) -> NDArray[np.float64]:
    """Return the numbers that the score is made of.

    Of what the rain branch, the snow branch and both together removed: how much, how much at the
    brightest hundredth, how much of it is light taken away, and how strongly it varies along rows
    and columns (streaks vary along rows, flakes along both). The same variation of the restored
    picture stands beside them, for a textured scene leaves traces in every layer.
    """
    rain, snow = (residuals[task].mean(axis=2, dtype=np.float32) for task in ("rain", "snow"))
    fused = residuals["fused"].mean(axis=2, dtype=np.float32)
    scene = to_rgb(to_float(degraded)).mean(axis=2, dtype=np.float32)
    numbers = [np.log(1e-4 + np.abs(fused - fused.mean()).mean()), float(scene.mean())]
    for layer in (rain, snow, rain - snow):
        numbers += [float(layer.mean()), _high(layer), _high(-layer)]
    numbers += [_high(fused), _high(-fused), float(fused.mean())]
    for picture in (fused, scene - fused):
        across, down = _variation(picture, 1), _variation(picture, 0)
        numbers += [across, down, across - down]
    return np.array(numbers, np.float64)


def _high(layer: NDArray[np.float32]) -> float:
    """Return the logarithm of the value that one pixel in a hundred exceeds."""
    place = int(0.99 * (layer.size - 1))
    return float(np.log(1e-3 + max(0.0, float(np.partition(layer, place, axis=None)[place]))))


def _variation(picture: NDArray[np.float32], axis: int) -> float:
    if picture.shape[axis] < 2:
        return float(np.log(1e-4))
    return float(np.log(1e-4 + np.abs(np.diff(picture, axis=axis)).mean()))


@cache
def read_calibrations(path: Path = CALIBRATION_PATH) -> dict[str, Calibration]:
    """Return the calibrations that ship with the program, or others, by hash of the model file.

    Raises:
        CmudrnError: the file is missing or damaged.
    """
    try:
        models: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        found = (_calibration(name, record) for name, record in models.items())
        return {one.sha256: one for one in found}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CmudrnError(f"The calibration of the weather score, {path}, is damaged.") from error


def _calibration(model: str, record: Mapping[str, Any]) -> Calibration:
    numbers = (np.array(record[key], float) for key in ("mean", "scale", "weights", "bias"))
    return Calibration(model, str(record["sha256"]), *numbers)
