"""Stones, kerbs and markings on clean patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmudrn.image import Image, write_image
from cmudrn.training.data.clean_patches import CleanPictures
from cmudrn.training.data.synthetic_paving import (
    composite_markings,
    composite_paving,
    composite_stones,
)

SHAPE = (64, 80, 3)


def patch(seed: int) -> Image:
    return np.random.default_rng(seed).uniform(0.2, 0.6, SHAPE).astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_drawn_is_a_patch_again(seed: int) -> None:
    drawn = [composite_paving(patch(seed), np.random.default_rng([3, seed])) for _ in "ab"]
    assert drawn[0].shape == SHAPE and drawn[0].dtype == np.float32
    assert drawn[0].min() >= 0 and drawn[0].max() <= 1
    assert np.abs(drawn[0] - patch(seed)).mean() > 0.01
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_stones_cover_all_and_markings_leave_most() -> None:
    flat = np.full(SHAPE, 0.4, np.float32)
    covered = {}
    for draw in (composite_stones, composite_markings):
        drawn = [np.asarray(draw(flat, np.random.default_rng(seed))) for seed in range(30)]
        # How much differs from the tone that most of the patch has.
        covered[draw] = np.mean([np.abs(d - np.median(d, (0, 1))).max(2) > 0.02 for d in drawn])
    assert covered[composite_markings] < 0.45 < covered[composite_stones]


def test_clean_patches_are_paved_in_the_share_that_is_asked_for(tmp_path: Path) -> None:
    write_image(np.full((80, 90, 3), 0.4, np.float32), tmp_path / "grey.png")
    pictures, rng = CleanPictures([tmp_path], (1,), 64, paving=0.5), np.random.default_rng(5)
    paved = [np.ptp(pictures.draw(64, rng)) > 0.01 for _ in range(80)]
    assert 0.35 < np.mean(paved) < 0.65
