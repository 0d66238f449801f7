"""Patches as cameras give them: the same faults on both sides, nothing to learn where clear."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmudrn.errors import CmudrnError
from cmudrn.image import to_float
from cmudrn.training.config import load_config
from cmudrn.training.data.camera import compress, take_picture
from cmudrn.training.data.wide_patches import WidePatches, WideScenes, ramp


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> WideScenes:
    rng = np.random.default_rng(0)
    folders = [tmp_path_factory.mktemp(name) for name in ("nature", "city")]
    for folder in folders:
        small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(small).resize((120, 90), Image.Resampling.BICUBIC).save(folder / "a.png")
    settings = [f'data.clean="{folders[0]}"', f'data.also_clean=["{folders[1]}"]', "data.patch=48"]
    return WideScenes(load_config("cmudrn-unet", settings).data, 0)


def test_a_clear_patch_is_its_own_target(scenes: WideScenes) -> None:
    patches = WidePatches(scenes, "clear")
    for seed in range(12):
        degraded, clean = patches(48, np.random.default_rng(seed))
        assert np.array_equal(degraded, clean)


@pytest.mark.parametrize("family", ["csd-rain", "editor-rain", "wet-snow"])
def test_patches_are_repeatable_in_range_and_in_weather(scenes: WideScenes, family: str) -> None:
    patches = WidePatches(scenes, family)
    changed = 0
    for seed in range(8):
        first, second = (patches(48, np.random.default_rng(seed)) for _ in range(2))
        for a, b in zip(first, second, strict=True):
            assert np.array_equal(a, b) and a.shape == (48, 48, 3) and a.dtype == np.float32
            assert a.min() >= 0 and a.max() <= 1
        changed += not np.array_equal(*first)
    assert changed >= 6


def test_an_unknown_weather_is_named(scenes: WideScenes) -> None:
    with pytest.raises(CmudrnError, match="hail"):
        WidePatches(scenes, "hail")


def test_a_camera_treats_equal_patches_alike() -> None:
    patch = np.random.default_rng(0).random((40, 40, 3), np.float32)
    for seed in range(12):
        first, second = take_picture([patch, patch.copy()], np.random.default_rng(seed))
        assert np.array_equal(first, second)


def test_compression_is_about_jpegs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = small.resize((96, 96), Image.Resampling.BICUBIC)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=50, subsampling=0)
    theirs = np.asarray(Image.open(stream), np.float32) / 255
    patch = to_float(np.asarray(picture))
    ours = compress(patch, 50, (0, 0))
    assert np.square(ours - patch).mean() == pytest.approx(
        np.square(theirs - patch).mean(), rel=0.5
    )


def test_local_weather_has_an_edge() -> None:
    for seed in range(10):
        weights = ramp(64, np.random.default_rng(seed))
        assert weights.min() == 0 and weights.max() == 1
