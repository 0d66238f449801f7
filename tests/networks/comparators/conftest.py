"""The golden files of other authors' networks, beside a checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of inputs, outputs and activations that the authors' own code made."""
    beside = ROOT.parent / "shared" / "comparators"
    folder = Path(os.environ.get("CMUDRN_SHARED_COMPARATORS", beside)) / "goldens"
    if not folder.is_dir():
        pytest.skip(
            "the folder of other networks' golden files is not here; "
            "CMUDRN_SHARED_COMPARATORS may say where it is"
        )
    return folder
