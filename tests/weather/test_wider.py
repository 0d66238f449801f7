"""What the wider weathers alone have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmudrn.datasets.rendering import Rendering, render_folder
from cmudrn.image import Picture, read_picture, write_picture
from cmudrn.weather.driving import DrivingSnow
from cmudrn.weather.editor import Editor, Smear, blend, composite_smear
from cmudrn.weather.lit import LitRain
from cmudrn.weather.local import Local, LocalScene, draw_region
from cmudrn.weather.rain import composite_light
from cmudrn.weather.wider import WIDER


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    rows, columns = np.mgrid[0:90, 0:120].astype(np.float32)
    return np.stack([rows / 140, columns / 170, (rows + columns) / 300], -1) * 0.8 + 0.1


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


def test_mist_is_behind_the_streaks(clean: np.ndarray) -> None:
    made = WIDER["misty-rain"](clean, np.random.default_rng(2))
    t = made.layers["transmission"][..., None]
    behind = t * clean + (1 - t) * made.layers["airlight"]
    light = np.asarray(made.parameters["light"], np.float32)
    attenuates = made.parameters["attenuates"]
    expected = composite_light(behind, made.layers["streaks"], light, attenuates)
    assert np.allclose(made.degraded, expected, atol=1e-6)
    assert t.min() < t.max() <= 1


def test_flakes_fly_out_of_the_vanishing_point() -> None:
    weather = DrivingSnow(speed=(0.3, 0.3), vanishing=(0.5, 0.5), pause=0.0)
    scene = weather.scene((200, 300), np.random.default_rng(4))
    first, second = scene._particles(0), scene._particles(1)
    from_centre = [np.hypot(p.x - 150, p.y - 100) for p in (first, second)]
    came_nearer = second.width > first.width  # the others begin anew at the far end
    assert 0.8 < came_nearer.mean() < 1
    assert (from_centre[1] >= from_centre[0])[came_nearer].all()
    # A flake is as long as its way in one exposure, and lies along it.
    along = (first.x - 150) * np.sin(first.angle) + (first.y - 100) * np.cos(first.angle)
    assert np.allclose(along, from_centre[0], atol=1e-2)
    still = DrivingSnow(speed=(1e-6, 1e-6)).scene((200, 300), np.random.default_rng(4))
    round_ones = still._particles(0)
    assert np.allclose(round_ones.length, round_ones.width, rtol=1e-2)


@pytest.mark.parametrize("name", [n for n, w in WIDER.items() if isinstance(w, Local)])
def test_local_weather_leaves_a_part_alone(name: str, clean: np.ndarray) -> None:
    shares = []
    for seed in range(6):
        made = WIDER[name](clean, np.random.default_rng(seed))
        scene = WIDER[name].scene((90, 120), np.random.default_rng(seed))
        assert isinstance(scene, LocalScene)
        outside = scene.region == 0
        assert outside.any() and (scene.region == 1).any()
        assert np.array_equal(made.degraded[outside], clean[outside])
        shares.append(made.parameters["share"])
        assert shares[-1] == pytest.approx(scene.region.mean(), abs=1e-4)
    assert len(set(shares)) == 6


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_the_edge_of_a_region_is_where_it_is_asked_for(place: float) -> None:
    regions = [draw_region((80, 50), np.random.default_rng(s), place, 0.01) for s in range(8)]
    for region in regions:
        assert region.mean() == pytest.approx(1 - place, abs=0.02)


def test_layers_of_misty_rain_are_written_beside_those_of_snow(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(60, 200, (24, 32, 3), np.uint8)
    (tmp_path / "clean").mkdir()
    write_picture(Picture(pixels, format="png"), tmp_path / "clean" / "a.png")
    for kind, preset in (("rain", "misty-rain"), ("snow", "csd-snow")):
        made = render_folder(Rendering(tmp_path / "clean", tmp_path / "out", kind, preset))
        assert made == 1
    layers = [
        read_picture(tmp_path / "out" / f / "1.tif") for f in ("RainTransmission", "Transmission")
    ]
    assert {layer.pixels.dtype for layer in layers} == {np.dtype(np.uint16)}
    assert not np.array_equal(layers[0].pixels, layers[1].pixels)
    assert render_folder(Rendering(tmp_path / "clean", tmp_path / "out", "rain", "misty-rain")) == 0
