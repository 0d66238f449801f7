"""Studies: rows as data, resume after a crash, and no outdated cell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

import cmudrn
from cmudrn.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from cmudrn.cli import app
from cmudrn.errors import CmudrnError
from cmudrn.experiments.runs import estimate_seconds
from cmudrn.experiments.study import (
    STUDIES,
    list_trials,
    read_cells,
    read_study,
    shipped_studies,
)
from cmudrn.experiments.table import insert
from cmudrn.training import fingerprints
from cmudrn.training.config import Config, load_config
from cmudrn.training.fingerprints import (
    SCORING,
    TRAINING,
    fingerprint_code,
    fingerprint_data,
    is_today,
    reached_modules,
    read_equivalent_code,
)

ROWS = """
title = "Tiny"
preset = "cmudrn-paper"
budget = "two-cores"
seeds = [0]

[test]
data = "folder:{folder}"
weathers = ["csd-rain"]
pictures = 1

[rows.cmudrn]
title = "all"

[rows.no-cross-stitch]
title = "off"
settings.network.cross_stitch.kind = "off"
"""
TINY = [
    "network.stages=1",
    "network.recursions=1",
    "training.steps=2",
    "training.warmup=0",
    "training.precision=fp32",
    "data.batch=2",
    "data.patch=16",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clean"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        Pillow.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def study(tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(ROWS.format(folder=folder))
    return path


def run(study: Path, folder: Path, *more: str) -> str:
    settings = [f"--set={setting}" for setting in (*TINY, f"data.clean={folder}")]
    command = ["study", str(study), "--run", str(study.parent / "runs"), *settings, *more]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def scores(study: Path, row: str) -> Path:
    return study.parent / "runs" / f"{row}-seed0" / "scores.tiny.json"


@pytest.mark.parametrize("name", [path.stem for path in STUDIES.glob("*.toml")])
def test_every_shipped_study_makes_configurations_that_differ(name: str) -> None:
    study = read_study(name)
    trials = list_trials(name, study, Path("runs"), {})
    assert len({trial.folder for trial in trials}) == len(trials)
    configurations = [t.config.model_copy(update={"name": ""}).model_dump_json() for t in trials]
    assert len(set(configurations)) == len(trials)
    titled = {name for name, row in study.rows.items() if "steps" in row.title}
    alike = [trial.config for trial in trials if trial.row not in titled]
    assert len({(config.training.steps, config.data.patch) for config in alike}) == bool(alike)


def test_runs_that_two_studies_name_are_the_same_run() -> None:
    seen: dict[Path, Config] = {}
    for path in STUDIES.glob("*.toml"):
        for trial in list_trials(path.stem, read_study(path.stem), Path("runs"), {}):
            assert seen.setdefault(trial.folder, trial.config) == trial.config


def test_a_study_runs_goes_on_after_a_crash_and_shows_nothing_stale(
    study: Path, folder: Path
) -> None:
    assert run(study, folder, "--table-only").count("missing") == 4
    run(study, folder, "--row", "cmudrn")
    first = scores(study, "cmudrn").read_bytes()
    output = run(study, folder)
    assert "1 of 2 runs to do" in output and "missing" not in output
    assert scores(study, "cmudrn").read_bytes() == first
    cells = json.loads(first)["cells"]
    assert [cell["method"] for cell in cells] == ["input", "model"]
    assert f"{cells[1]['psnr_rgb']:.2f}" in output

    page = study.parent / "page.md"
    page.write_text("before\n<!-- study tiny -->\nold\n<!-- end of study tiny -->\nafter\n")
    run(study, folder, "--table-only", "--into", str(page))
    assert "old" not in page.read_text() and page.read_text().endswith("after\n")
    assert f"{cells[1]['psnr_rgb']:.2f}" in page.read_text()

    kept = json.loads(first)
    kept["made from"]["code"] = "other"
    scores(study, "cmudrn").write_text(json.dumps(kept))
    output = run(study, folder, "--table-only")
    assert "older than its code" in output
    assert f"{cells[1]['psnr_rgb']:.2f} |" not in output.split("| all")[1].splitlines()[0]
    run(study, folder, "--again")
    remade = json.loads(scores(study, "cmudrn").read_text())
    assert (
        remade["sha256 of the checkpoint"]
        and remade["cells"][1]["psnr_rgb"] == cells[1]["psnr_rgb"]
    )


def test_the_time_of_a_network_over_several_scales_is_estimated_too(
    study: Path, folder: Path
) -> None:
    settings = {
        "network": {"kind": "cmudrn-unet", "widths": [4, 4, 4, 4]},
        "data": {"clean": str(folder), "patch": 16, "batch": 1},
        "training": {"precision": "fp32"},
    }
    read = read_study(str(study))
    trials = list_trials("tiny", read, study.parent / "runs", settings, ["cmudrn"])
    assert estimate_seconds(trials, read.test, 1) > 0


def test_scores_are_stale_when_configuration_or_test_pictures_change(
    study: Path, folder: Path
) -> None:
    run(study, folder, "--row", "cmudrn")
    read = read_study(str(study))
    settings = {"data": {"clean": str(folder)}}
    trial = list_trials("tiny", read, study.parent / "runs", settings, ["cmudrn"])[0]
    assert read_cells(trial, read.test) == "older than its configuration"  # not of TINY
    output = run(study, folder, "--table-only", "--row", "cmudrn")
    assert "older" not in output
    Pillow.new("RGB", (64, 48)).save(folder / "a.png")
    fingerprints._fingerprint_data.cache_clear()
    assert "older than its data" in run(study, folder, "--table-only", "--row", "cmudrn")


def test_where_the_data_lie_does_not_make_a_run_stale(study: Path, folder: Path) -> None:
    run(study, folder, "--row", "cmudrn")
    moved = folder.rename(folder.with_name("moved"))
    study.write_text(study.read_text().replace(str(folder), str(moved)))
    assert "older" not in run(study, moved, "--table-only", "--row", "cmudrn")


def test_a_stored_table_is_printed_without_data_and_says_that_it_was_not_checked(
    study: Path, folder: Path
) -> None:
    page = study.parent / "page.md"
    page.write_text("<!-- study tiny -->\nold\n<!-- end of study tiny -->\n")
    run(study, folder, "--row", "cmudrn")
    table = run(study, folder, "--table-only", "--row", "cmudrn")
    fingerprints._fingerprint_data.cache_clear()
    for path in folder.iterdir():
        path.unlink()
    output = run(study, folder, "--table-only", "--row", "cmudrn")
    assert output.startswith(table)
    assert "was not checked" in output and "which data.clean names" in output
    with pytest.raises(CmudrnError, match="checked cells only"):
        run(study, folder, "--table-only", "--into", str(page))
    assert "old" in page.read_text()


def test_a_folder_of_data_is_named_by_a_variable_or_an_option(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CMUDRN_DATA", raising=False)
    command = ["study", "baselines", "--run", str(study.parent / "none"), "--row", "drn-rain"]
    with pytest.raises(CmudrnError, match="CMUDRN_DATA names; it is not set; --data FOLDER"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    done = CliRunner().invoke(app, [*command, "--table-only"], catch_exceptions=False)
    assert "missing" in done.output and "it is not set" in done.output
    monkeypatch.setenv("CMUDRN_DATA", "nowhere")  # what the option sets is taken back
    done = CliRunner().invoke(app, [*command, "--table-only", "--data", str(study.parent)])
    assert f"no images in {study.parent}" in done.output


def test_what_only_the_scores_depend_on_leaves_the_run_where_it_is(
    study: Path, folder: Path
) -> None:
    run(study, folder, "--row", "cmudrn")
    trained = scores(study, "cmudrn").with_name("last.safetensors")
    before = trained.stat().st_mtime_ns
    study.write_text(study.read_text().replace("pictures = 1", "pictures = 2"))
    assert "older than its test" in run(study, folder, "--table-only", "--row", "cmudrn")
    output = run(study, folder, "--again", "--row", "cmudrn")
    assert "1 of 1 runs to do" in output and "older" not in output
    assert trained.stat().st_mtime_ns == before
    assert {c["pictures"] for c in json.loads(scores(study, "cmudrn").read_text())["cells"]} == {2}


def test_a_study_is_scored_on_pairs_that_somebody_else_made(study: Path, folder: Path) -> None:
    rng = np.random.default_rng(3)
    for side in ("input", "target"):
        (study.parent / "pairs" / side).mkdir(parents=True)
        for n in (1, 2, 3):
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            Pillow.fromarray(picture).save(study.parent / "pairs" / side / f"{n}.png")
    test = f"--test=theirs=folder:{study.parent}/pairs"
    output = run(study, folder, "--row", "cmudrn", test)
    assert "theirs PSNR dB" in output and "all pictures of pairs" in output
    cells = json.loads(scores(study, "cmudrn").read_text())["cells"]
    assert {(cell["weather"], cell["pictures"]) for cell in cells} == {("theirs", 3)}
    assert "older than its test" in run(study, folder, "--row", "cmudrn", "--table-only")
    with pytest.raises(CmudrnError, match="NAME=KIND:PATH"):
        run(study, folder, "--test", "theirs")


def test_an_unfinished_run_of_other_code_does_not_go_on(study: Path, folder: Path) -> None:
    run(study, folder, "--row", "cmudrn")
    scores(study, "cmudrn").unlink()
    path = scores(study, "cmudrn").with_name("last.safetensors")
    checkpoint = read_checkpoint(path)
    save_checkpoint(replace(checkpoint, record={**checkpoint.record, "code": "other"}), path)
    output = run(study, folder, "--row", "cmudrn")
    assert "older than its code" in output and "1 of 1 runs are stale" in output
    assert not scores(study, "cmudrn").exists()
    assert "older" not in run(study, folder, "--row", "cmudrn", "--again")


def test_settings_that_came_later_do_not_make_a_run_stale(study: Path, folder: Path) -> None:
    run(study, folder, "--row", "cmudrn")
    kept = json.loads(scores(study, "cmudrn").read_text())
    del kept["made from"]["configuration"]["training"]["clip"]  # its default is what ran
    scores(study, "cmudrn").write_text(json.dumps(kept))
    assert "older" not in run(study, folder, "--table-only", "--row", "cmudrn")
    kept["made from"]["configuration"]["training"]["clip"] = 5.0
    scores(study, "cmudrn").write_text(json.dumps(kept))
    assert "older than its configuration" in run(study, folder, "--table-only", "--row", "cmudrn")


def test_the_code_that_counts_is_what_trains_and_what_scores() -> None:
    rooms = Path(cmudrn.__file__).parent
    trains, judges = (
        {path.relative_to(rooms).as_posix() for path in reached_modules(roots)}
        for roots in (TRAINING, SCORING)
    )
    assert {
        "training/loop.py",
        "training/data/batches.py",
        "networks/losses.py",
        "networks/cmudrn.py",
    } <= trains
    assert {"weather/rain.py", "weather/snow.py"} <= trains & judges
    assert "evaluation/metrics.py" in judges and "datasets/dataset.py" in judges
    assert not {
        p for p in trains if p.startswith(("evaluation/", "restoration/", "cli/", "server/"))
    }


def test_the_code_of_the_committed_studies_is_declared_equivalent_to_today_s() -> None:
    message = "the code has changed; tools/accept_code.py shows whether its results have too"
    for name, roots in (("training", TRAINING), ("scoring", SCORING)):
        known = read_equivalent_code()[name]
        assert known["today"] == fingerprint_code(roots), message
        assert all(is_today(fingerprint, roots) for fingerprint in known["earlier"])
        assert not is_today("0" * 64, roots) and not is_today(None, roots)


def test_fingerprints_declared_equivalent_to_other_code_count_for_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    earlier = read_equivalent_code()["training"]["earlier"][0]
    table = f'today = "{"0" * 64}"\nearlier = ["{earlier}"]\n'
    (tmp_path / "code.toml").write_text(f"[training]\n{table}[scoring]\n{table}")
    monkeypatch.setattr(fingerprints, "EQUIVALENT", tmp_path / "code.toml")
    read_equivalent_code.cache_clear()
    try:
        assert not is_today(earlier) and is_today(fingerprint_code())
    finally:
        read_equivalent_code.cache_clear()


def test_fingerprints_tell_data_and_stay_the_same(folder: Path) -> None:
    config = load_config("cmudrn", [f"data.clean={folder}"]).data
    assert fingerprint_data(config) == fingerprint_data(config)
    assert len(fingerprint_code()) == 64
    other = load_config("cmudrn", [f"data.clean={folder.parent}"]).data
    assert fingerprint_data(other) != ""


def test_wrong_studies_are_explained(tmp_path: Path, study: Path) -> None:
    with pytest.raises(CmudrnError, match="no study 'ablatio'; there are ablation"):
        read_study("ablatio")
    study.write_text(study.read_text() + "\nwrong = 1\n")
    with pytest.raises(CmudrnError, match="wrong"):
        read_study(str(study))
    with pytest.raises(CmudrnError, match="no row 'x'"):
        list_trials("ablation", read_study("ablation"), tmp_path, {}, ["x"])
    for setting in ("shared_recursions = false", "stage_reductions = [4, 2, 1]"):
        fixed = (
            ROWS.format(folder=tmp_path)
            + f"\n[rows.own]\ntitle = 'x'\nsettings.network.{setting}\n"
        )
        study.write_text(fixed.replace("pictures = 1", "pictures = 1\nstages = [1, 2]"))
        with pytest.raises(CmudrnError, match="row 'own' has a fixed depth"):
            list_trials("tiny", read_study(str(study)), tmp_path, {})
    with pytest.raises(CmudrnError, match="to put the table between"):
        insert("table", tmp_path / "none.md", "ablation")


def test_all_tables_of_a_checkout_are_printed_without_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    done = CliRunner().invoke(app, ["study", "--all", "--table-only", "--data", str(tmp_path)])
    assert done.exit_code == 0 and "was not checked" in done.output
    assert "missing" not in done.output and "was not run" not in done.output
    for name in shipped_studies():
        assert read_study(name).title in done.output


@pytest.mark.parametrize("asked", [[], ["ablation", "--all"], ["ablation"]])
def test_a_study_is_asked_for_by_name_and_folder_or_all_are(asked: list[str]) -> None:
    done = CliRunner().invoke(app, ["study", *asked, "--table-only"])
    assert done.exit_code == 2 and "--" in done.output
