"""White stays white and black stays black, whatever the model."""

from __future__ import annotations

import numpy as np
import pytest

import cmudrn
from cmudrn.image import Pixels
from cmudrn.models import shipped_models
from cmudrn.restoration.range_ends import REACH, hold_range_ends

WHITE = {"uint8": 255, "uint16": 65535, "float32": 1.0}


def paper() -> Pixels:
    """Return a red square on white paper, large enough for the whole veil estimator."""
    image = np.full((120, 160, 3), 255, np.uint8)
    image[70:, 40:120] = (200, 30, 30)
    return image


@pytest.mark.parametrize("model", shipped_models())
def test_every_model_leaves_white_and_black_alone(model: str) -> None:
    restorer = cmudrn.load(model)
    for value in (0, 255):
        flat = np.full((48, 64, 3), value, np.uint8)
        assert np.array_equal(restorer(flat), flat)
    assert (restorer(paper())[: 70 - 2 * REACH] == 255).all()
    clipped = np.full((96, 64, 3), 255, np.uint8)
    clipped[48:] = np.random.default_rng(0).integers(60, 160, (48, 64, 3))
    assert (restorer(clipped)[: 48 - 2 * REACH] == 255).all()


@pytest.mark.parametrize("model", shipped_models())
def test_every_model_gives_a_ramp_without_a_step(model: str) -> None:
    ramp = np.linspace(180, 255, 400).round().astype(np.uint8)
    image = np.repeat(np.tile(ramp, (48, 1))[..., None], 3, axis=2)
    found = cmudrn.load(model)(image)[24, :, 0].astype(int)
    assert found[-1] >= 254
    assert np.abs(np.diff(found)).max() <= 4


@pytest.mark.parametrize("dtype", WHITE)
@pytest.mark.parametrize("shape", [(80, 300), (700, 40, 3)])
def test_held_is_what_is_even_and_at_an_end(dtype: str, shape: tuple[int, ...]) -> None:
    white = WHITE[dtype]
    image: Pixels = np.full(shape, white, dtype)
    image[:30] = 0
    image[40:45, :20] = white / 2
    changed: Pixels = np.full(shape, white / 4, dtype)
    restored = changed.copy()
    hold_range_ends(image, restored)
    assert (restored[: 30 - 2 * REACH] == 0).all()
    assert (restored[45 + 2 * REACH :] == white).all()
    assert (restored[40:45, :20] == changed[0].flat[0]).all()
    assert (restored[29:31] == changed[0].flat[0]).all()


def test_nothing_else_is_held() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    restored = image // 2
    hold_range_ends(image, restored)
    assert np.array_equal(restored, image // 2)


def test_bands_join_without_a_seam() -> None:
    image = np.full((600, 40), 250, np.uint8)
    image[:, :4] = 0
    restored = np.full_like(image, 100)
    hold_range_ends(image, restored)
    assert (restored == restored[0]).all()
