"""Properties of every weather and of its layers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cmudrn.errors import CmudrnError
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.patches import PatchWeather
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.snow import Snow

THIN = ("thin-rain", "driving-snow")
"""Much of them is thinner than a pixel where it is reduced; its edges then count too much."""


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    rows, columns = np.mgrid[0:90, 0:120].astype(np.float32)
    channels = [rows / 140, columns / 170, (rows + columns) / 300]
    return np.stack(channels, -1).astype(np.float32) * 0.8 + 0.1


@pytest.mark.parametrize("name", WEATHERS)
def test_pictures_are_repeatable_and_in_range(name: str, clean: np.ndarray) -> None:
    first, second = (WEATHERS[name](clean, np.random.default_rng(3)) for _ in range(2))
    assert first.degraded.shape == clean.shape
    assert first.degraded.dtype == np.float32
    assert first.degraded.min() >= 0 and first.degraded.max() <= 1
    assert np.array_equal(first.degraded, second.degraded)
    assert json.loads(json.dumps(first.parameters)) == second.parameters
    other = WEATHERS[name](clean, np.random.default_rng(4)).degraded
    assert not np.array_equal(first.degraded, other)


@pytest.mark.parametrize("name", WEATHERS)
def test_severity_runs_from_clean_to_worse(name: str, clean: np.ndarray) -> None:
    errors = []
    for severity in (0.0, 1.0, 3.0, 5.0):
        weather = replace(WEATHERS[name], severity=severity)
        pictures = [weather(clean, np.random.default_rng(seed)).degraded for seed in range(4)]
        errors.append(np.mean([np.square(p - clean).mean() for p in pictures]))
    assert errors[0] < 1e-12  # of the rounding of the screen blend
    assert errors == sorted(errors) and errors[1] < errors[3]


@pytest.mark.parametrize("name", [name for name in WEATHERS if name != "haze"])
def test_frames_of_a_scene_move(name: str, clean: np.ndarray) -> None:
    scene = WEATHERS[name].scene(clean.shape[:2], np.random.default_rng(5))
    still, again, later = scene(clean), scene(clean, 0), scene(clean, 1)
    assert np.array_equal(still.degraded, again.degraded)
    assert not np.array_equal(still.degraded, later.degraded)
    before, after = (np.square(f.degraded - clean).mean() for f in (still, later))
    assert after == pytest.approx(before, rel=0.9)


@pytest.mark.parametrize("name", WEATHERS)
def test_a_reduced_scene_looks_like_the_reduced_picture(name: str, clean: np.ndarray) -> None:
    scene = WEATHERS[name].scene((360, 480), np.random.default_rng(6))
    large = np.repeat(np.repeat(clean, 4, 0), 4, 1)
    wanted = scene(large).degraded.reshape(90, 4, 120, 4, 3).mean((1, 3))
    found = scene.reduced(4)(clean).degraded
    rough = 0.4 if name in THIN else 0.2
    assert (found - clean).mean() == pytest.approx((wanted - clean).mean(), rel=rough)
    assert (found - clean).std() == pytest.approx((wanted - clean).std(), rel=rough)


@pytest.mark.parametrize("name", WEATHERS)
def test_the_layer_is_where_the_weather_is(name: str, clean: np.ndarray) -> None:
    made = WEATHERS[name](clean, np.random.default_rng(7))
    if WEATHERS[name].kind == "haze":  # everywhere
        assert made.layers["transmission"].shape == clean.shape[:2]
        assert 0 < made.layers["transmission"].min() <= made.layers["transmission"].max() < 1
        return
    (layer,) = (made.layers[key] for key in ("streaks", "mask") if key in made.layers)
    assert layer.shape == clean.shape[:2] and layer.dtype == np.float32
    assert layer.min() >= 0 and layer.max() > 0
    if "transmission" not in made.layers:
        changed = np.abs(made.degraded - clean).max(2)
        assert (changed[layer == 0] < 1e-6).all()


@pytest.mark.parametrize("name", [n for n, w in WEATHERS.items() if isinstance(w, Snow)])
def test_snow_is_its_mask_and_its_veil(name: str, clean: np.ndarray) -> None:
    """K = J (1 - M) + c M;  I = t K + (1 - t) A (JSTASR, CSD)."""
    for seed in range(6):
        made = WEATHERS[name](clean, np.random.default_rng(seed))
        mask = made.layers["mask"][..., None]
        expected = clean * (1 - mask) + made.parameters["light"] * mask
        if "transmission" in made.layers:
            t = made.layers["transmission"][..., None]
            expected = t * expected + (1 - t) * made.layers["airlight"]
        assert np.allclose(made.degraded, np.clip(expected, 0, 1), atol=1e-5)


def test_the_papers_rain_only_adds(clean: np.ndarray) -> None:
    made = LayeredRain()(clean, np.random.default_rng(0))
    expected = np.clip(clean + made.layers["streaks"][..., None], 0, 1)
    assert np.array_equal(made.degraded, expected)


def test_screens_tile_so_that_any_size_can_be_rained_on() -> None:
    picture = np.full((1100, 1000, 3), 0.2, np.float32)
    streaks = LayeredRain()(picture, np.random.default_rng(1)).layers["streaks"]
    quarters = [streaks[:550, :500], streaks[:550, 500:], streaks[550:, :500], streaks[550:, 500:]]
    means = [float(q.mean()) for q in quarters]
    assert max(means) < 1.5 * min(means)


def test_the_papers_rain_has_the_published_screens_strength() -> None:
    """Added light and coverage of the recipe over the published screens: see docs/weather.md."""
    grey = np.full((480, 512, 3), 0.4, np.float32)
    streaks = np.stack(
        [LayeredRain()(grey, np.random.default_rng(i)).layers["streaks"] for i in range(12)]
    )
    assert streaks.mean() * 255 == pytest.approx(44, rel=0.15)
    assert (streaks > 5 / 255).mean() == pytest.approx(0.94, abs=0.05)


def test_an_unknown_weather_is_named() -> None:
    with pytest.raises(CmudrnError, match="no weather 'hail'; there are csd-rain"):
        PatchWeather().degrade(np.zeros((8, 8, 3), np.float32), np.random.default_rng(), "hail")
