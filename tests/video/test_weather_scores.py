"""The weather score: its arithmetic, and clear cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmudrn.errors import CmudrnError
from cmudrn.models import ModelInfo, shipped_models
from cmudrn.restoration import weather_classifier
from cmudrn.restoration.weather_classifier import (
    CLASSES,
    GATE,
    WeatherScore,
    check_scorable,
    measure,
    read_calibrations,
)


def test_the_calibration_fits_what_is_measured_and_scores_add_up() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    removed = {
        name: rng.normal(0, 0.05, (20, 30, 3)).astype(np.float32)
        for name in ("rain", "snow", "fused")
    }
    for model in shipped_models().values():
        calibration = read_calibrations().get(model.sha256)
        if calibration is None:
            continue
        assert calibration.model == model.name
        assert measure(picture, removed).shape == calibration.mean.shape
        assert calibration.weights.shape == (len(CLASSES), calibration.mean.size)
        score = calibration(measure(picture, removed))
        assert score.rain + score.snow + score.clear == pytest.approx(1)


def test_every_calibration_is_that_of_a_shipped_model() -> None:
    shipped = {model.sha256: model.name for model in shipped_models().values()}
    assert {hash_: shipped[hash_] for hash_ in read_calibrations()} == {
        hash_: calibration.model for hash_, calibration in read_calibrations().items()
    }


def test_one_pixel_is_a_picture_too() -> None:
    removed = {name: np.zeros((1, 1, 3), np.float32) for name in ("rain", "snow", "fused")}
    assert np.isfinite(measure(np.zeros((1, 1), np.uint8), removed)).all()


@pytest.mark.parametrize("band", [1, 100, 1 << 20])
def test_measures_are_those_of_whole_layers_whatever_is_held_at_once(
    band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (23, 31, 3), np.uint8)
    means = {name: rng.normal(0, 0.1, (23, 31)) for name in ("rain", "snow", "fused")}
    monkeypatch.setattr(weather_classifier, "_BAND_PIXELS", band)
    found = measure(picture, {name: mean.astype(np.float32) for name, mean in means.items()})
    rain, fused, scene = means["rain"], means["fused"], picture.mean(axis=2) / 255
    place, log = int(0.99 * (rain.size - 1)), np.log
    expected = {0: log(1e-4 + np.abs(fused - fused.mean()).mean()), 1: scene.mean()}
    expected |= {2: rain.mean(), 3: log(1e-3 + np.sort(rain.ravel())[place])}
    expected |= {10: log(1e-3 + np.sort((means["snow"] - rain).ravel())[place])}
    expected |= {13: fused.mean(), 14: log(1e-4 + np.abs(np.diff(fused, axis=1)).mean())}
    expected |= {18: log(1e-4 + np.abs(np.diff(scene - fused, axis=0)).mean())}
    assert {number: found[number] for number in expected} == pytest.approx(expected, rel=1e-4)


def test_the_gate_passes_what_is_surely_clear() -> None:
    assert WeatherScore(0, 1 - GATE, GATE).passes
    assert not WeatherScore(0, 0.45, 0.55).passes
    assert WeatherScore(0.2, 0.5, 0.3).weather == "snow"


def test_models_without_branches_and_damaged_calibrations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match="no branches for rain and snow"):
        check_scorable(ModelInfo("x", "other", (), 0, 0, False, False, 0, ""))
    path = tmp_path / "score.json"
    for damaged in ("[]", '{"x": 0}', '{"x": {"sha256": "0"}}', ""):
        path.write_text(damaged)
        with pytest.raises(CmudrnError, match="damaged"):
            read_calibrations(path)
