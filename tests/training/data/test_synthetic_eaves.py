"""Synthetic edges of roofs on clean patches."""

from __future__ import annotations

import numpy as np

from cmudrn.training.data.synthetic_eaves import composite_eaves


def test_one_side_of_a_patch_is_covered_from_edge_to_edge() -> None:
    patch = np.random.default_rng(0).random((96, 96, 3), dtype=np.float32) * 0.4 + 0.3
    covered = []
    for seed in range(40):
        built = composite_eaves(patch, np.random.default_rng(seed))
        assert built.dtype == np.float32 and built.shape == patch.shape
        assert built.min() >= 0 and built.max() <= 1
        assert np.array_equal(built, composite_eaves(patch, np.random.default_rng(seed)))
        covered.append(np.abs(built - patch).max(-1) > 0.02)
    shares = np.array([one.mean() for one in covered])
    assert shares.min() > 0.02  # boards at least
    assert (shares < 0.95).sum() > 5 and (shares > 0.95).sum() > 5  # before the patch, or a sky
