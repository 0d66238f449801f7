"""The paper's generator over screens, against scikit-image."""

from pathlib import Path

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, write_picture
from cmudrn.weather.published import PublishedRain, filter_screen, list_screens, otsu_level


def make_screen() -> np.ndarray:
    screen = np.zeros((63, 90), np.uint8)
    screen[10:14, 20] = 200  # 4 pixels: 64 and a little more at four times the size
    screen[20:60, 50:53] = 180  # 120 pixels
    return screen


def test_otsu_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.normal(60, 15, 4000), rng.normal(170, 20, 2000)]).clip(0, 255)
    expected = threshold_otsu(pixels.astype(np.uint8))
    assert abs(otsu_level(pixels.astype(np.float32)) - expected) <= 1


def test_only_streaks_of_the_wanted_area_are_kept() -> None:
    small = filter_screen(make_screen(), (0, 500), 1)
    large = filter_screen(make_screen(), (500, 5000), 1)
    assert small.shape == (252, 360)
    assert small[48, 82] > 20 and small[160, 206] < 1
    assert large[48, 82] < 1 and large[160, 206] > 100


def test_published_screens_make_the_same_rain_again(tmp_path: Path) -> None:
    for name in ("1-4", "2-6", "3-8"):
        write_picture(Picture(make_screen()), tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("not a screen")
    screens = list_screens(tmp_path)
    assert [p.name for p in screens] == ["1-4.png", "2-6.png", "3-8.png"]
    clean = np.full((70, 80, 3), 0.3, np.float32)
    first, second = (PublishedRain(paths=screens)(clean, np.random.default_rng(1)) for _ in "ab")
    assert np.array_equal(first.degraded, second.degraded)
    assert (first.degraded >= clean).all() and (first.degraded > clean).any()


def test_a_file_that_is_no_screen_is_named(tmp_path: Path) -> None:
    write_picture(Picture(np.zeros((3, 9), np.uint8)), tmp_path / "1-4.png")
    rain = PublishedRain(paths=list_screens(tmp_path))
    with pytest.raises(CmudrnError, match=r"1-4\.png is not a rain screen"):
        rain(np.zeros((40, 40, 3), np.float32), np.random.default_rng(0))
