"""`cmudrn bench` and `cmudrn parity`: what they write and print."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.engines import open_engine
from cmudrn.engines.native import instruction_sets
from cmudrn.restoration.profile import load_profile

RUNNER = CliRunner()


def test_bench_keeps_a_profile_for_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = RUNNER.invoke(app, ["bench", "--rounds", "1"])
    assert ran.exit_code == 0, ran.output
    profile = load_profile(open_engine("cmudrn").info, "auto auto")
    threads = [int(line.split()[0]) for line in ran.output.splitlines()[2:]]
    assert sorted(set(threads)) == sorted(profile.costs)


def test_bench_writes_a_heat_map_and_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    options = ["bench", "--model", "cmudrn-25k", "--heatmap", str(path)]
    options += ["--largest", "100", "--loops", "2"]
    ran = RUNNER.invoke(app, [*options, "--pictures", "1"])
    assert ran.exit_code == 0, ran.output
    lines = path.read_text().splitlines()
    assert "cores" in lines[0] and "cmudrn" in lines[0]
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["side", "loops"], ["100", "1"], ["100", "2"]
    ]  # fmt: skip
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    again = RUNNER.invoke(app, [*options, "--engine", "onnx"])
    assert again.exit_code != 0
    assert "another machine, engine or model" in str(again.exception)
    assert path.read_text().splitlines() == lines


def test_a_model_of_one_depth_has_one_row(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    options = ["bench", "--heatmap", str(path), "--largest", "100", "--pictures", "1"]
    ran = RUNNER.invoke(app, options)
    assert ran.exit_code == 0, ran.output
    own = str(open_engine("cmudrn", "onnx", 1).info.stages)
    rows = [line.split(",")[:2] for line in path.read_text().splitlines()[2:]]
    assert rows == [["112", own]]  # a multiple of 16


@pytest.mark.parametrize("model", ["cmudrn", "cmudrn-25k"])
def test_parity_compares_every_engine_here(model: str) -> None:
    ran = RUNNER.invoke(app, ["parity", model, "--side", "40", "--rounds", "1"])
    assert ran.exit_code == 0, ran.output
    rows = {" ".join(row[:2]): row[2:] for row in map(str.split, ran.stdout.splitlines()[1:])}
    assert float(rows["onnx fp32"][0]) == 0
    for name in rows.keys() & {"native fp32", "openvino fp32"}:
        assert float(rows[name][0]) < 1e-5
    assert ("native fp32" in rows) == bool(instruction_sets())
    if "native bf16" in rows and model == "cmudrn-25k":
        assert float(rows["native bf16"][1]) > 55
