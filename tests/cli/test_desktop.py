"""The entries of the file managers are valid and restore what is selected."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmudrn.cli import app

SAMPLE = Path(__file__).parents[2] / "samples" / "rain.jpg"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="for Linux")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder with a blank in its name, and the entries in it."""
    folder = tmp_path / "my data"
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    assert CliRunner().invoke(app, ["desktop"], catch_exceptions=False).exit_code == 0
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_entries_come_and_go(folder: Path) -> None:
    assert len(files(folder)) == 5
    assert CliRunner().invoke(app, ["desktop", "--remove"]).exit_code == 0
    assert files(folder) == []


def test_the_entry_is_valid(folder: Path) -> None:
    validate = shutil.which("desktop-file-validate")
    if validate is None:
        pytest.skip("no desktop-file-validate")
    entry = folder / "applications" / "cmudrn-restore.desktop"
    done = subprocess.run([validate, entry], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("by_nautilus", [False, True])
def test_the_selected_files_are_restored(folder: Path, by_nautilus: bool) -> None:
    photo = folder.parent / "a photo.jpg"
    shutil.copy(SAMPLE, photo)
    command: list[str | Path] = [folder / "cmudrn" / "restore-files", photo]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SAMPLE.parents[1] / "src")}
    if by_nautilus:
        command = [folder / "nautilus" / "scripts" / "Restore with CMUDRN"]
        environment["NAUTILUS_SCRIPT_SELECTED_FILE_PATHS"] = f"{photo}\n"
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder.parent / "a photo.restored.jpg").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode != 0 and "exists" in again.stderr
