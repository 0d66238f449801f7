"""Tables of studies: what is marked, what is empty, and tables over depths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.reference_training import DATA

from cmudrn.experiments.study import Study, expected, list_trials, read_study
from cmudrn.experiments.table import describe, make_table


def of_photographs(name: str) -> tuple[Study, dict[str, Any]]:
    """Return a shipped study on the photographs of the tests, and the settings for its runs."""
    read, clean = read_study(name), DATA / "clean"
    test = read.test.model_copy(update={"data": f"folder:{clean / 'test'}"})
    settings = {"data": {"clean": str(clean / "train"), "validation": ""}}
    return read.model_copy(update={"test": test}), settings


def test_weather_that_a_row_never_saw_is_marked_and_seeds_show_their_spread(tmp_path: Path) -> None:
    study, settings = of_photographs("baselines")
    trials = list_trials("baselines", study, tmp_path, settings, ["cmudrn", "drn-rain", "drn-both"])
    for trial in trials:
        cells = [
            {"weather": weather, "method": method, "psnr_rgb": 20.0 + trial.seed, "ssim_rgb": 0.5}
            for weather in study.test.weathers
            for method in ("input", "model")
        ]
        trial.folder.mkdir()
        about = {"made from": expected(trial, study.test), "cells": cells}
        trial.scores.write_text(json.dumps(about))
    rows = {row[0]: row for row in make_table(study, trials)[1:]}
    assert rows["CMUDRN"][2] == "21.00 (20.00 to 22.00)"
    assert rows["DRN, rain and snow"][2] == "20.00"
    assert rows["DRN, rain only"][5] == "21.00 (20.00 to 22.00) (not trained on it)"
    assert rows["CMUDRN"][1] == "`cmudrn-seed0` `cmudrn-seed1` `cmudrn-seed2`"


def test_images_too_small_for_ssim_leave_its_cells_empty(tmp_path: Path) -> None:
    study, settings = of_photographs("baselines")
    trials = list_trials("baselines", study, tmp_path, settings, ["cmudrn"])[:1]
    cells = [
        {"weather": weather, "method": method, "psnr_rgb": psnr}
        for method, psnr in (("input", 8.0), ("model", 9.0))
        for weather in study.test.names
    ]
    trials[0].folder.mkdir()
    about = {"made from": expected(trials[0], study.test), "cells": cells}
    trials[0].scores.write_text(json.dumps(about))
    _, before, restored = make_table(study, trials)
    assert before[2:4] == ["8.00", ""] and restored[2:4] == ["9.00", ""]


def test_a_table_over_depths_names_each_run_and_holds_its_cell(tmp_path: Path) -> None:
    study, settings = of_photographs("loops")
    trials = list_trials("loops", study, tmp_path, settings)
    trial = trials[0]
    cells = [
        {"weather": w, "method": "model", "stages": t, "recursions": s, "seconds": 0.5,
         "psnr_rgb": 10.0 * (t or 0) + (s or 0)}
        for w in study.test.weathers for t, s in study.test.depths()
    ]  # fmt: skip
    trial.folder.mkdir()
    about = {"made from": expected(trial, study.test), "cells": cells}
    trial.scores.write_text(json.dumps(about))
    heading, *rows = make_table(study, trials)
    assert heading[4:] == [f"S = {s}, dB (s)" for s in study.test.recursions]
    deepest = next(r for r in rows if r[1:4] == ["`cmudrn-seed0`", "csd-snow", "7"])
    assert deepest[4] == "71.00 (0.50)" and deepest[-1] == "77.00 (0.50)"
    other = next(r for r in rows if r[1] == "`elastic-seed0`")
    assert set(other[4:]) == {"missing"}
    assert "one thread" in describe(study, trials)
    trial.scores.write_text(json.dumps(about | {"cells": [cells[0] | {"pictures": 3}]}))
    assert "all 3 pictures" in describe(study, trials)
