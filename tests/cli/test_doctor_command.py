"""`cmudrn doctor`: its exit code and its printed report."""

import json
from pathlib import Path

import pytest
from support.trees import make_csd, save, scene
from typer.testing import CliRunner

from cmudrn.cli import app
from cmudrn.errors import CmudrnError

RUNNER = CliRunner()


def test_a_sound_dataset_ends_with_0_and_a_leak_with_1(tmp_path: Path) -> None:
    csd = make_csd(tmp_path / "CSD", train=2, test=2)
    sound = RUNNER.invoke(app, ["doctor", f"csd:{csd}@train", f"csd:{csd}@test"])
    assert sound.exit_code == 0 and sound.stdout.rstrip().endswith("Sound: no wrong file, no leak.")
    assert "2 pairs" in sound.stdout and "64 x 48 (2)" in sound.stdout
    save(scene(0)[:, ::-1].copy(), tmp_path / "mine" / "a.jpg", quality=90)
    leaking = RUNNER.invoke(app, ["doctor", f"csd:{csd}@train", f"folder:{tmp_path}/mine"])
    assert leaking.exit_code == 1
    assert "LEAK between" in leaking.stdout and "a.jpg (mirrored)" in leaking.stdout


def test_json_has_it_all(tmp_path: Path) -> None:
    csd = make_csd(tmp_path / "CSD", train=2, test=2)
    (csd / "Train" / "Snow" / "2.tif").unlink()
    result = RUNNER.invoke(app, ["doctor", "--json", f"csd:{csd}@train"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["sound"] is False
    (health,) = report["datasets"]
    assert health["pairs"] == 1 and len(health["fingerprint"]) == 64
    assert health["problems"] == ["1 file without a degraded picture (Gt/2.tif)"]


def test_no_such_dataset_is_one_sentence() -> None:
    result = RUNNER.invoke(app, ["doctor", "csd:nowhere"])
    assert isinstance(result.exception, CmudrnError)
    assert str(result.exception) == "There is no folder nowhere."
    with pytest.raises(CmudrnError):
        RUNNER.invoke(app, ["doctor", "csd:nowhere"], catch_exceptions=False)
