"""Synthetic structures on clean patches."""

from collections.abc import Callable

import numpy as np
import pytest

from cmudrn.training.data.synthetic_structures import (
    STRUCTURES,
    Plane,
    composite_structure,
    draw_bars,
)


@pytest.mark.parametrize("draw", STRUCTURES)
def test_a_structure_covers_a_part_and_has_steep_edges(draw: Callable[..., np.ndarray]) -> None:
    shares, slopes = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        covered = draw(Plane.draw((64, 48), rng), rng)
        assert covered.shape == (64, 48) and covered.dtype == np.float32
        assert covered.min() >= 0 and covered.max() <= 1
        shares.append(covered.mean())
        slopes.append(max(np.abs(np.diff(covered, axis=axis)).max() for axis in (0, 1)))
    assert 0.02 < np.mean(shares) < 0.8
    assert np.median(slopes) > 0.4


def test_bars_repeat_at_their_period() -> None:
    across = np.tile(np.arange(200, dtype=np.float32), (2, 1))
    bars = draw_bars(Plane(across, np.zeros_like(across), 1.0), np.random.default_rng(1))[0]
    spectrum = np.abs(np.fft.rfft(bars - bars.mean()))
    strongest = int(spectrum.argmax())
    assert 200 / 26 <= strongest <= 200 / 3
    assert spectrum[strongest] > 4 * np.median(spectrum)


def test_patches_stay_in_range_and_differ() -> None:
    patch = np.random.default_rng(0).random((64, 64, 3), np.float32)
    built = [composite_structure(patch, np.random.default_rng(seed)) for seed in range(40)]
    assert all(b.dtype == np.float32 and b.min() >= 0 and b.max() <= 1 for b in built)
    assert np.mean([np.abs(b - patch).max() > 0.2 for b in built]) > 0.9
    again = composite_structure(patch, np.random.default_rng(7))
    assert np.array_equal(again, built[7])
