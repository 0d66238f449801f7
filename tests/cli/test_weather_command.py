"""`cmudrn weather`: a folder becomes a dataset that the other commands read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.trees import save, scene
from typer.testing import CliRunner, Result

from cmudrn.cli import app
from cmudrn.errors import CmudrnError

RUNNER = CliRunner()

PRESET = """
name = "fifty"
[network]
kind = "drn"
tasks = ["snow"]
features = 4
stages = 1
recursions = 1
[data]
patch = 32
batch = 4
workers = 0
[data.sources.csd]
dataset = "{dataset}"
task = "snow"
weight = 1
[training]
steps = 50
validate_every = 50
precision = "fp32"
"""


def run(*words: str | Path) -> Result:
    return RUNNER.invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for number in range(6):
        save(scene(number, (64, 80)), tmp_path / "clean" / f"{number}.png")
    return tmp_path / "clean"


def psnrs(model: Path, dataset: str, table: Path) -> dict[str, float]:
    evaluated = run("evaluate", model, "--data", dataset, "--pictures", table, "--no-intervals")
    assert evaluated.exit_code == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        model: float(np.mean([float(row["psnr_rgb"]) for row in rows if row["model"] == model]))
        for model in {row["model"] for row in rows}
    }


def test_what_weather_renders_the_doctor_passes_and_fifty_steps_learn_from(
    clean: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    tree = tmp_path / "CSD"
    assert run("weather", "snow", clean, tree / "Train").exit_code == 0
    dataset = f"csd:{tree}@train"
    doctor = run("doctor", "--json", dataset)
    assert doctor.exit_code == 0
    health = json.loads(doctor.stdout)["datasets"][0]
    assert health["pairs"] == 6 and not health["repeated"]
    preset = tmp_path / "fifty.toml"
    preset.write_text(PRESET.format(dataset=dataset))
    trained = run("train", preset, "--into", tmp_path / "run", "--threads", "1")
    assert trained.exit_code == 0
    said = f"50 steps; fingerprint of the data {health['fingerprint']}"
    assert said in trained.stdout
    scores = psnrs(tmp_path / "run", dataset, tmp_path / "scores.csv")
    assert len(scores) == 2 and all(np.isfinite(value) for value in scores.values())


def test_a_checkpoint_carries_the_fingerprint_of_its_data(clean: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from cmudrn.checkpoints.checkpoint import read_checkpoint
    from cmudrn.training import fingerprints

    assert run("weather", "snow", clean, tmp_path / "CSD" / "Train").exit_code == 0
    dataset = f"csd:{tmp_path}/CSD@train"
    found = {}
    for name in ("first", "second"):
        preset = tmp_path / f"{name}.toml"
        preset.write_text(PRESET.format(dataset=dataset).replace("= 50", "= 1"))
        run("train", preset, "--into", tmp_path / name, "--threads", "1")
        fingerprints._fingerprint_data.cache_clear()  # as in a process of its own
        found[name] = read_checkpoint(tmp_path / name / "last.safetensors").record["data"]
        with (tmp_path / "CSD" / "Train" / "Snow" / "1.tif").open("ab") as file:
            file.write(b"\0")
    assert found["first"] != found["second"]


def test_severity_is_a_dial(clean: Path, tmp_path: Path) -> None:
    errors = []
    for severity in ("0", "1.5", "5"):
        out = tmp_path / severity
        run("weather", "rain", clean, out, "--preset", "light-rain", "--severity", severity)
        health = json.loads(run("doctor", "--json", f"folder:{out}/Rain,{out}/Gt").stdout)
        errors.append(health["datasets"][0]["input_psnr_db"])
    assert errors[0] is None and errors[1] > errors[2]
    with pytest.raises(CmudrnError, match=r"severity is between 0 and 5; it is 5.5"):
        run("weather", "rain", clean, tmp_path / "out", "--severity", "5.5")
    assert not (tmp_path / "out").exists()


def test_wrong_words_are_one_sentence(clean: Path, tmp_path: Path) -> None:
    assert run("weather", "hail", clean, tmp_path / "out").exit_code == 2
    with pytest.raises(CmudrnError, match="--streaks is for rain"):
        run("weather", "snow", clean, tmp_path / "out", "--streaks", clean)
    assert not (tmp_path / "out").exists()
