"""The wider weathers: their layers explain them, and more severe is more."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cmudrn.weather.editor import Editor, Smear, blend, composite_smear
from cmudrn.weather.lit import LitRain
from cmudrn.weather.wider import WIDER


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    rows, columns = np.mgrid[0:90, 0:120].astype(np.float32)
    return np.stack([rows / 140, columns / 170, (rows + columns) / 300], -1) * 0.8 + 0.1


@pytest.mark.parametrize("name", WIDER)
def test_pictures_are_repeatable_and_in_range(name: str, clean: np.ndarray) -> None:
    first, second = (WIDER[name](clean, np.random.default_rng(3)) for _ in range(2))
    assert first.degraded.shape == clean.shape and first.degraded.dtype == np.float32
    assert first.degraded.min() >= 0 and first.degraded.max() <= 1
    assert np.array_equal(first.degraded, second.degraded)
    assert json.loads(json.dumps(first.parameters)) == second.parameters


@pytest.mark.parametrize("name", WIDER)
def test_severity_runs_from_clean_to_worse(name: str, clean: np.ndarray) -> None:
    errors = []
    for severity in (0.0, 1.0, 3.0):
        weather = replace(WIDER[name], severity=severity)
        pictures = [weather(clean, np.random.default_rng(seed)).degraded for seed in range(6)]
        errors.append(np.mean([np.square(p - clean).mean() for p in pictures]))
    assert errors[0] < 1e-12 and errors == sorted(errors) and errors[1] < errors[2]


@pytest.mark.parametrize("name", [n for n, w in WIDER.items() if isinstance(w, Editor)])
def test_an_editors_layer_explains_the_picture(name: str, clean: np.ndarray) -> None:
    for seed in range(5):
        made = WIDER[name](clean, np.random.default_rng(seed))
        (layer,) = made.layers.values()
        light = np.asarray(made.parameters["light"], np.float32)
        again = blend(clean, layer, light, made.parameters["blend"])
        assert np.array_equal(again, made.degraded)


def test_a_smear_is_long_along_its_direction_only() -> None:
    rng = np.random.default_rng(0)
    field = composite_smear(Smear(0.5, 0.01, 30, 0.0, 0.0, 0.0, 0.8), (128, 128), rng)
    down, across = (np.abs(np.diff(field, axis=axis)).mean() for axis in (0, 1))
    assert down < across / 4
    assert 0.7 < field.max() <= 1 and field.min() >= 0


def test_lit_rain_falls_where_the_light_is(clean: np.ndarray) -> None:
    rain = WIDER["lit-rain"]
    assert isinstance(rain, LitRain)
    scene = replace(rain, ambient=(0.0, 0.0)).scene((90, 120), np.random.default_rng(1))
    streaks = scene(clean).layers["streaks"]
    assert (streaks <= scene.lamps + 1e-6).all() and streaks.max() > 0
