"""Today's code trains and scores as the code did that made the committed runs.

The numbers in `tests/data/reference_training.json` were made by commit 07091f4, before modules and
settings were renamed. While this test passes, `tools/accept_code.py` may declare a new fingerprint
of the code equivalent to the earlier ones, so that the cells of the studies stay fresh.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from support.reference_training import DATA, PRESETS, reference

STORED = json.loads((DATA / "reference_training.json").read_text(encoding="utf-8"))
LOSS_TOLERANCE = 1e-3
"""Relative. Other processors and versions of torch round differently; a changed seed, patch,
weather or loss moves the loss by more."""
WEIGHT_TOLERANCE = 0.05
"""Of the norm of a tensor's change in three steps."""
OTHERWISE = STORED["weights on an AMD with AVX-512"]
"""SOAP's first bases are eigenvectors of nearly singular matrices, which processors round each in
its own way. These weights were made there by commit 489bfdb."""
DECIBEL_TOLERANCE = 0.01


@pytest.fixture(scope="module")
def today() -> dict[str, Any]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    threads = torch.get_num_threads()
    try:
        return reference()
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


@pytest.mark.parametrize("preset", PRESETS)
def test_three_steps_of_every_recipe_change_the_weights_as_before(
    today: dict[str, Any], preset: str
) -> None:
    trained, stored = today["training"][preset], STORED["training"][preset]
    assert trained["loss"] == pytest.approx(stored["loss"], rel=LOSS_TOLERANCE)
    assert trained["psnr"] == pytest.approx(stored["psnr"], abs=DECIBEL_TOLERANCE)
    assert trained["weights"].keys() == stored["weights"].keys()
    for name, (_, change) in stored["weights"].items():
        assert change > 0, name
    references = [stored["weights"], *([OTHERWISE[preset]] if preset in OTHERWISE else [])]
    assert min(farthest(trained["weights"], one) for one in references) < WEIGHT_TOLERANCE


def farthest(trained: dict[str, list[float]], stored: dict[str, list[float]]) -> float:
    """Return the largest difference of a projection, as a share of its tensor's change."""
    return max(
        abs(trained[name][0] - projection) / change for name, (projection, change) in stored.items()
    )


def test_scores_are_as_before(today: dict[str, Any]) -> None:
    assert today["scores"].keys() == STORED["scores"].keys()
    for row, values in STORED["scores"].items():
        for protocol, value in values.items():
            tolerance = DECIBEL_TOLERANCE if protocol.startswith("psnr") else 1e-4
            assert today["scores"][row][protocol] == pytest.approx(value, abs=tolerance), protocol
