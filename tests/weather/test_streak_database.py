"""The streak database of Garg and Nayar, a small one in its published layout."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.streaks import ELEVATIONS, make_database

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, write_picture
from cmudrn.weather.camera import Exposure
from cmudrn.weather.particles import Particles
from cmudrn.weather.streak_database import (
    DatabaseRain,
    composite_streaks,
    open_database,
    read_streak,
    read_table,
)

STILL = Exposure(1 / 60, 1, 1, blur_px=0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return make_database(tmp_path / "rainstreakdb")


def one_streak(**values: float) -> Particles:
    given = {"y": 100, "length": 80, "width": 8, "angle": 0, "opacity": 0.9, "softness": 1}
    return Particles.of(np.array([60.0]), **(given | values))


def only_environment(root: Path) -> Path:
    for path in sorted((root / "point_light_database").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (root / "point_light_database").rmdir()
    return root


def test_sizes_lights_and_samples_are_all_found(database: Path) -> None:
    found = open_database(database)
    assert sorted(found.streaks) == [4, 16]
    cameras = [(e,) for e in ELEVATIONS]
    # At the pole there is one azimuth only, as in the published files.
    sources = [(e, v, h) for e in ELEVATIONS for v, h in ((-90, 90), (10, 10), (10, 90))]
    assert found.lights == tuple(sorted([*cameras, *sources]))
    assert all(len(s) == 10 for lights in found.streaks.values() for s in lights.values())


def test_brightness_comes_from_the_tables(database: Path) -> None:
    """The files are all scaled to 65535; make_database's sample k is (k + 1) times as bright."""
    streaks = open_database(database).streaks[16][(0,)]
    brightness = {int(s.path.stem[-1]): s.brightness for s in streaks}
    assert brightness[9] / brightness[0] == pytest.approx(10)
    assert all(read_streak(s.path).max() == 1 for s in streaks)
    point = open_database(database).streaks[16][(20, 10, 90)]
    assert {int(s.path.stem[-1]): s.brightness for s in point}[3] == pytest.approx(4 / 5.5)


def test_a_table_may_have_its_numbers_beside_or_below_the_heading(tmp_path: Path) -> None:
    row = " ".join(str(k / 10) for k in range(10))
    below, beside = tmp_path / "below.txt", tmp_path / "beside.txt"
    below.write_text(f"cv0\n{row}\ncv20\n{row} \n")
    beside.write_text(f"cv40\nv-90\nh90 {row} \nv10\nh10 {row}\nh30 {row}\n")
    assert list(read_table(below, ("cv",))) == [(0,), (20,)]
    table = read_table(beside, ("v", "h"))
    assert list(table) == [(-90, 90), (10, 10), (10, 30)]
    assert table[10, 30][7] == 0.7


def test_a_streak_lies_where_it_should_as_long_and_wide_as_it_should(database: Path) -> None:
    found = open_database(only_environment(database))
    found = replace(found, lights=((0,),))
    light = composite_streaks(one_streak(), STILL, (200, 120), found, np.random.default_rng(0))
    rows, columns = np.nonzero(light > 0.02)
    assert rows.min() in range(58, 64) and rows.max() in range(137, 142)
    assert columns.min() in range(55, 59) and columns.max() in range(62, 66)
    tilted = composite_streaks(
        one_streak(angle=0.5), STILL, (200, 120), found, np.random.default_rng(0)
    )
    assert tilted.sum() == pytest.approx(light.sum(), rel=0.03)
    above, below = np.nonzero(tilted[70] > 0.02)[0].mean(), np.nonzero(tilted[130] > 0.02)[0].mean()
    assert (below - above) / 60 == pytest.approx(np.tan(0.5), rel=0.1)


def test_a_camera_that_looks_up_sees_shorter_streaks(database: Path) -> None:
    found = open_database(only_environment(database))
    heights = []
    for elevation in ELEVATIONS:
        chosen = replace(found, lights=((elevation,),))
        light = composite_streaks(one_streak(), STILL, (200, 120), chosen, np.random.default_rng(0))
        heights.append(int((light > 0.02).any(1).sum()))
    assert np.allclose(heights, 80 * np.cos(np.radians(ELEVATIONS)), atol=4)


def test_what_leaves_a_screen_comes_back_in(database: Path) -> None:
    found = replace(open_database(only_environment(database)), lights=((0,),))
    middle, corner = (
        composite_streaks(one_streak(**place), STILL, (200, 120), found, np.random.default_rng(0))
        for place in ({"y": 100}, {"y": 0})
    )
    assert np.allclose(np.roll(middle, 100, 0), corner, atol=1e-6)


def test_a_narrow_streak_is_fainter_not_lost(database: Path) -> None:
    found = replace(open_database(only_environment(database)), lights=((0,),))
    sums = []
    for width in (0.25, 0.5, 1.0):
        streak = one_streak(width=width, opacity=0.2)
        light = composite_streaks(streak, STILL, (200, 120), found, np.random.default_rng(0))
        sums.append(float(-np.log1p(-light).sum()))
    assert np.allclose(np.array(sums) / sums[2], [0.25, 0.5, 1], atol=0.06)


def test_rain_is_repeatable_tiles_and_moves(database: Path) -> None:
    rain = DatabaseRain(folder=database, variety=8)
    clean = np.full((96, 128, 3), 0.3, np.float32)
    scene = rain.scene((96, 128), np.random.default_rng(1))
    again = replace(rain).scene((96, 128), np.random.default_rng(1))
    assert np.array_equal(scene(clean).degraded, again(clean).degraded)
    assert (scene(clean).degraded > clean).any()
    assert not np.array_equal(scene(clean).degraded, scene(clean, 1).degraded)


def test_wrong_files_are_named(database: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "env_light_database" / "txt").mkdir(parents=True)
    table = tmp_path / "empty" / "env_light_database" / "txt" / "normalized_env_max.txt"
    with pytest.raises(CmudrnError, match=r"normalized_env_max\.txt cannot be read"):
        open_database(tmp_path / "empty")
    table.write_text("cv0\n1 2 3\n")
    with pytest.raises(CmudrnError, match=r"has 3 numbers under \(0,\); it should have 10"):
        open_database(tmp_path / "empty")
    table.write_text("cv0\n" + "1 " * 10)
    with pytest.raises(CmudrnError, match="no streaks in"):
        open_database(tmp_path / "empty")
    folder = database / "env_light_database" / "size16"
    write_picture(Picture(np.zeros((5, 16), np.uint16)), folder / "cv80_osc0.png")
    with pytest.raises(CmudrnError, match=r"no row for .*cv80_osc0\.png"):
        open_database(database)
    write_picture(Picture(np.zeros((5, 16), np.uint8)), tmp_path / "cv0_osc0.png")
    with pytest.raises(CmudrnError, match="16-bit grey is needed"):
        read_streak(tmp_path / "cv0_osc0.png")
