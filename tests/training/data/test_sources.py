"""Clean patches and their augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cmudrn.image import write_image
from cmudrn.training.data.clean_patches import BLURRED, CleanPictures, blur


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    write_image(np.full((96, 96, 3), 0.5, np.float32), tmp_path / "grey.png")
    return tmp_path


def test_blur_is_a_binomial_filter() -> None:
    patch = np.random.default_rng(0).random((20, 24, 3), np.float32)
    taps = np.array([1, 4, 6, 4, 1]) / 16
    expected = patch
    for axis in (0, 1):
        expected = ndimage.correlate1d(expected, taps, axis, mode="nearest")
    np.testing.assert_allclose(blur(patch), expected, atol=1e-6)


def test_blurred_noise_is_as_strong_as_said() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 400, 3), np.float32)
    assert blur(noise).std() == pytest.approx(BLURRED, rel=0.02)


def test_grain_stays_below_its_greatest_deviation(grey: Path) -> None:
    pictures = CleanPictures([grey], (1,), 64, grain=0.02)
    rng = np.random.default_rng(0)
    deviations = [pictures.draw(64, rng).std() for _ in range(40)]
    assert 0.015 < max(deviations) < 0.021
    assert min(deviations) < 0.005


def test_sharpening_makes_edges_steeper(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 0.3, np.float32)
    picture[:, 32:] = 0.7
    write_image(picture, tmp_path / "edge.png")

    def steepest(sharpen: float) -> float:
        pictures, rng = (
            CleanPictures([tmp_path], (1,), 64, sharpen=sharpen),
            np.random.default_rng(3),
        )
        patches = [pictures.draw(64, rng) for _ in range(20)]
        return float(max(np.abs(np.diff(p, axis=axis)).max() for p in patches for axis in (0, 1)))

    assert steepest(0.0) == pytest.approx(0.4, abs=0.01)
    assert 0.5 < steepest(1.0) < 0.75


def test_without_settings_a_patch_is_cut_from_the_picture(grey: Path) -> None:
    patch = CleanPictures([grey], (1,), 64).draw(32, np.random.default_rng(0))
    assert np.ptp(patch) == 0


def test_a_share_of_the_patches_is_built_upon(grey: Path) -> None:
    pictures, rng = CleanPictures([grey], (1,), 64, structures=0.5), np.random.default_rng(5)
    patches = [pictures.draw(64, rng) for _ in range(100)]
    assert 25 < sum(float(np.ptp(p)) > 0.02 for p in patches) < 60
