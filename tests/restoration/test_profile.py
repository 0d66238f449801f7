"""The speed profile and the depth that it chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmudrn.engines import open_engine
from cmudrn.errors import FileError
from cmudrn.restoration.profile import (
    Profile,
    load_profile,
    measure_profile,
    pick_depth,
    profile_path,
    save_profile,
)
from cmudrn.restoration.time_budget import BudgetRestorer

PROFILE = Profile("0" * 64, "auto auto", {1: (0.0, 10.0, 40.0), 2: (0.0, 5.0, 20.0)})


@pytest.mark.parametrize(
    "budget_ms, expected",
    [(1e9, (3, 3, 1)), (220, (3, 3, 2)), (110, (2, 2, 2)), (28, (1, 1, 2)), (1, (1, 1, 2))],
)
def test_the_deepest_that_fits_is_picked(budget_ms: float, expected: tuple[int, int, int]) -> None:
    info = replace(open_engine("cmudrn-25k").info, stages=3, recursions=3, elastic=True)
    choice = pick_depth(PROFILE, info, 1_000_000, budget_ms)
    assert (choice.stages, choice.recursions, choice.threads) == expected
    if budget_ms >= 28:
        assert choice.expected_ms <= 0.9 * budget_ms


def test_a_model_of_one_depth_only_gets_its_threads_chosen() -> None:
    info = replace(open_engine("cmudrn-25k").info, stages=3, recursions=3, elastic=False)
    choice = pick_depth(PROFILE, info, 1_000_000, 25)
    assert (choice.stages, choice.recursions, choice.threads) == (3, 3, 2)


def test_a_profile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    info = open_engine("cmudrn-25k").info
    with pytest.raises(FileError, match="cmudrn bench"):
        load_profile(info, "auto auto")
    profile, path = replace(PROFILE, sha256=info.sha256), profile_path(info, "auto auto")
    save_profile(profile, path)
    assert load_profile(info, "auto auto") == profile
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing half written
    whole = path.read_text()
    damaged = ["{}", "[]", "", whole.replace("10.0", "-1"), whole.replace(info.sha256, "0" * 64)]
    for text in [*damaged, whole.replace("10.0", "1e999"), "[" * 50_000]:
        path.write_text(text)
        with pytest.raises(FileError, match="damaged"):
            load_profile(info, "auto auto")


def test_a_measured_profile_grows_with_depth() -> None:
    profile = measure_profile(lambda threads: open_engine("cmudrn-25k", threads=threads), "x", 1)
    for threads in profile.costs:
        assert profile.milliseconds(10**6, 1, 1, threads) > 0
        assert profile.milliseconds(10**6, 1, 1, threads) < profile.milliseconds(
            10**6, 3, 3, threads
        )


def test_a_restorer_with_a_budget_runs_the_depth_it_chose() -> None:
    array = np.random.default_rng(0).random((40, 50, 3), np.float32)
    restorer = BudgetRestorer(lambda threads: open_engine("cmudrn-25k", threads=1), PROFILE, 1e-3)
    expected = BudgetRestorer.__mro__[1](open_engine("cmudrn-25k", threads=1))
    assert np.array_equal(restorer(array), expected(array, stages=1, recursions=1))
    assert not np.array_equal(restorer(array), expected(array, stages=3, recursions=3))


def test_a_budget_counts_what_tiles_compute_twice() -> None:
    restorer = BudgetRestorer(lambda threads: open_engine("cmudrn-25k", threads=1), PROFILE, 1e9)
    array = np.zeros((300, 300, 3), np.float32)
    whole = restorer.choose(array).expected_ms
    restorer.tile_pixels = 200 * 200
    tiles = restorer.tiles(300, 300)
    assert len(tiles) > 1
    seen = sum((rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in
               (tile.window for tile in tiles))  # fmt: skip
    assert restorer.choose(array).expected_ms == pytest.approx(whole * seen / 300**2)
