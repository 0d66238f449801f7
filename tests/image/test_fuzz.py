"""Damaged images are refused in one sentence, or read; `tools/fuzz.py pictures` tries many more."""

from __future__ import annotations

import numpy as np
import pytest
from support.mutations import mutate_picture, sample_files, try_picture


def test_whole_files_are_read() -> None:
    assert {try_picture(data) for data in sample_files()} == {"read"}


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_refused_or_read(seed: int) -> None:
    rng, files = np.random.default_rng(seed), sample_files()
    ends = [try_picture(mutate_picture(files[n % len(files)], rng)) for n in range(40)]
    assert "read" in ends and "DamagedImageError" in ends
