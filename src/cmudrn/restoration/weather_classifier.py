"""Rain, snow or clear: a weather score from what each branch took out of a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError, ModelFileError
from cmudrn.image import Pixels, to_float, to_rgb
from cmudrn.models.info import ModelInfo

CLASSES = ("rain", "snow", "clear")

CALIBRATION_PATH = Path(__file__).parent / "weather_classifier.json"
"""Written by tools/fit_weather_classifier.py."""

_BAND_PIXELS = 1 << 18
"""Measured at once: a bound on memory."""

Residual = NDArray[np.floating]
"""(H, W, 3), or its mean over the channels, (H, W)."""

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
    info: ModelInfo, degraded: Pixels, residuals: Mapping[str, Residual]
) -> WeatherScore:
    """Return the weather score of a picture.

    Args:
        info: of the model, one that `check_scorable` lets through.
        degraded: (H, W, 3) RGB or (H, W) grey; uint8, uint16, or float32 in [0, 1].
        residuals: `RestoredImage.residuals` for it, at the model's own depth, or their means over
            the channels, (H, W).
    """
    return read_calibrations()[info.sha256](measure(degraded, residuals))


def measure(degraded: Pixels, residuals: Mapping[str, Residual]) -> NDArray[np.float64]:
    """Return the numbers that the score is made of.

    Of what the rain branch, the snow branch and both together removed: how much, how much at the
    brightest hundredth, how much of it is light taken away, and how strongly it varies along rows
    and columns (streaks vary along rows, flakes along both). The same variation of the restored
    picture stands beside them, for a textured scene leaves traces in every layer.

    Memory beside the arguments is that of some rows.
    """
    rain, snow, fused = (_layer(residuals[name]) for name in ("rain", "snow", "fused"))
    scene = _Layer(
        degraded.shape[:2],
        lambda rows: to_rgb(to_float(degraded[rows])).mean(axis=2, dtype=np.float32),
    )
    middle = fused.mean()
    spread = _Layer(fused.shape, lambda rows: np.abs(fused.rows(rows) - np.float32(middle)))
    numbers = [np.log(1e-4 + spread.mean()), scene.mean()]
    for layer in (rain, snow, _difference(rain, snow)):
        numbers += [layer.mean(), *layer.ends()]
    numbers += [*fused.ends(), middle]
    for picture in (fused, _difference(scene, fused)):
        across, down = picture.variation(1), picture.variation(0)
        numbers += [across, down, across - down]
    return np.array(numbers, np.float64)


@dataclass(frozen=True)
class _Layer:
    """One number for each pixel, made when it is asked for.

    Attributes:
        shape: (H, W).
        rows: some rows -> (h, W) float32.
    """

    shape: tuple[int, ...]
    rows: Callable[[slice], NDArray[np.float32]]

    def bands(self, overlap: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yield all rows, some at a time; each time the last ones come again."""
        height = max(1, _BAND_PIXELS // self.shape[1])
        for start in range(0, max(1, self.shape[0] - overlap), height):
            yield self.rows(slice(start, start + height + overlap))

    def mean(self) -> float:
        """Return the mean."""
        total = sum(float(band.sum(dtype=np.float64)) for band in self.bands())
        return total / (self.shape[0] * self.shape[1])

    def ends(self) -> tuple[float, float]:
        """Return the logarithms of what one pixel in a hundred exceeds, and of the negative's."""
        size = self.shape[0] * self.shape[1]
        count = size - int(0.99 * (size - 1))
        highest = lowest = np.empty(0, np.float32)
        for band in self.bands():
            highest = _largest(np.append(highest, band), count)
            lowest = _largest(np.append(lowest, -band), count)
        high, low = (np.log(1e-3 + max(0.0, float(one.min()))) for one in (highest, lowest))
        return float(high), float(low)

    def variation(self, axis: int) -> float:
        """Return the logarithm of the mean change from a pixel to its neighbour."""
        count = self.shape[1 - axis] * (self.shape[axis] - 1)
        if not count:
            return float(np.log(1e-4))
        changes = (np.abs(np.diff(band, axis=axis)) for band in self.bands(1 - axis))
        return float(
            np.log(1e-4 + sum(float(one.sum(dtype=np.float64)) for one in changes) / count)
        )


def _layer(residual: Residual) -> _Layer:
    if residual.ndim == 2:
        return _Layer(residual.shape, lambda rows: residual[rows].astype(np.float32))
    return _Layer(residual.shape[:2], lambda rows: residual[rows].mean(axis=2, dtype=np.float32))


def _difference(one: _Layer, other: _Layer) -> _Layer:
    return _Layer(one.shape, lambda rows: one.rows(rows) - other.rows(rows))


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the largest values, in no order."""
    return np.partition(values, -count)[-count:] if len(values) > count else values


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
