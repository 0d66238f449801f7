"""The scores that `cmudrn models` prints are those of the results in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmudrn.models import shipped_models

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "models.md"


def _table() -> dict[tuple[str, str], list[str]]:
    lines = [line.strip("| ").split(" | ") for line in RESULTS.read_text("utf-8").splitlines()]
    return {(cells[0], cells[2]): cells[3:] for cells in lines if len(cells) == 6}


@pytest.mark.parametrize("name", shipped_models())
def test_scores_are_those_of_the_results(name: str) -> None:
    table = _table()
    scores = shipped_models()[name].scores
    assert set(scores) == {image_set for image_set, model in table if model == name}
    for image_set, measures in scores.items():
        psnr, _, ssim = map(float, table[image_set, name])
        degraded = float(table[image_set, "input"][0])
        assert measures == {"input_psnr_db": degraded, "psnr_db": psnr, "ssim": ssim}


def test_the_default_models_have_scores() -> None:
    assert all(len(shipped_models()[name].scores) == 8 for name in ("cmudrn", "cmudrn-25k"))
