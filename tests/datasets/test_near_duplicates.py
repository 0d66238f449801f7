"""Near duplicates are found after re-encoding, resizing, rotation and mirroring, and no others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.trees import save, scene

from cmudrn.datasets.near_duplicates import SYMMETRIES, find_matches, find_scenes, hash_look, turned


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [save(scene(n, (96, 128)), tmp_path / f"{n}.png") for n in range(30)]


def changed(pixels: np.ndarray, change: str) -> np.ndarray:
    picture = Pillow.fromarray(pixels)
    match change:
        case "half":
            return np.asarray(picture.resize((64, 48), Pillow.Resampling.LANCZOS))
        case "double":
            return np.asarray(picture.resize((256, 192), Pillow.Resampling.BICUBIC))
        case "mirrored":
            return pixels[:, ::-1].copy()
        case "turned":
            return np.rot90(pixels).copy()
    return pixels


@pytest.mark.parametrize("change", ["as it is", "half", "double", "mirrored", "turned"])
@pytest.mark.parametrize("quality", [95, 40])
def test_a_changed_copy_is_found_and_nothing_else(
    pictures: list[Path], tmp_path: Path, change: str, quality: int
) -> None:
    copies = [
        save(
            changed(scene(n, (96, 128)), change), tmp_path / "copies" / f"{n}.jpg", quality=quality
        )
        for n in (3, 17)
    ]
    strangers = [save(scene(500, (96, 128)), tmp_path / "copies" / "stranger.jpg")]
    matches = find_matches(pictures, [*strangers, *copies])
    assert [(m.first, m.second) for m in matches] == [(3, 1), (17, 2)]


def test_small_pictures_full_of_detail_are_found_at_half_their_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures, copies = [], []
    for number in range(8):
        grains = rng.normal(0, 25, (128, 128, 3))
        pixels = np.clip(scene(number, (128, 128)) + grains, 0, 255).astype(np.uint8)
        pictures.append(save(pixels, tmp_path / f"{number}.png"))
        half = np.asarray(Pillow.fromarray(pixels).resize((64, 64), Pillow.Resampling.LANCZOS))
        copies.append(save(half, tmp_path / "half" / f"{number}.jpg", quality=60))
    matches = find_matches(pictures, copies)
    assert [(m.first, m.second) for m in matches] == [(n, n) for n in range(8)]


def test_a_mirrored_copy_is_said_to_be_mirrored(pictures: list[Path], tmp_path: Path) -> None:
    copy = save(scene(3, (96, 128))[:, ::-1].copy(), tmp_path / "copy.png")
    (match,) = find_matches(pictures, [copy])
    assert match.how == "mirrored"
    assert match.error < 0.005


def test_pictures_of_one_hash_but_other_pixels_are_no_match(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dim = scene(1) // 4  # the same signs of every frequency, much less light
    first = save(scene(1), tmp_path / "1.png")
    second = save(dim, tmp_path / "2.png")
    noise = [
        save(rng.integers(0, 256, (48, 64, 3), np.uint8), tmp_path / f"n{k}.png") for k in "ab"
    ]
    flat = [save(np.full((8, 8, 3), grey, np.uint8), tmp_path / f"f{grey}.png") for grey in (3, 4)]
    assert find_matches([first, *noise, *flat], [second]) == []
    assert find_matches([first, *noise, *flat]) == []


def test_the_symmetries_do_as_they_are_called() -> None:
    picture = scene(1, (32, 32))
    assert len(SYMMETRIES) == 8
    np.testing.assert_array_equal(turned(picture, 4), picture[:, ::-1])
    np.testing.assert_array_equal(turned(picture, 6), picture[::-1])
    np.testing.assert_array_equal(turned(picture, 2), picture[::-1, ::-1])
    assert len({turned(picture, k).tobytes() for k in range(8)}) == 8
    assert hash_look(turned(picture, 4)) != hash_look(picture)


def test_scenes_are_numbered_as_they_appear(tmp_path: Path) -> None:
    order = (5, 8, 5, 9, 8, 5)
    paths = [save(scene(n), tmp_path / f"{k}.png") for k, n in enumerate(order)]
    assert find_scenes(paths) == [0, 1, 0, 2, 1, 0]
