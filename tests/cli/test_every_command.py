"""Every command is there for a user to find, and says what it is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import run

import cmudrn.cli

FILES = {
    path.stem
    for path in Path(cmudrn.cli.__path__[0]).glob("*.py")
    if "@app.command(" in path.read_text(encoding="utf-8")
}
CALLBACKS = [entry.callback for entry in cmudrn.cli.app.registered_commands if entry.callback]
COMMANDS = [callback.__name__ for callback in CALLBACKS]


def test_every_file_of_commands_is_registered() -> None:
    from_files = {callback.__module__ for callback in CALLBACKS}
    assert from_files == {f"cmudrn.cli.{name}" for name in FILES}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"cmudrn {command}" in done.stdout.decode()


@pytest.mark.parametrize("words", [["--version"], ["restore", "--help"], ["export", "--help"]])
def test_one_command_does_not_wait_for_the_files_of_others(words: list[str]) -> None:
    imported = _imported_by(words)
    own = {"restore": "restore", "export": "train"}.get(words[0])
    assert {name.removeprefix("cmudrn.cli.") for name in imported} & FILES == {own} - {None}
    assert not {"numpy", "pydantic", "pyvips"} & imported


def test_a_photograph_waits_for_nothing_that_it_does_not_need(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Typer's conversions bring pydantic; clips, records and a time budget have modules too."""
    cmudrn.write_image(np.zeros((8, 8, 3), np.uint8), tmp_path / "a.png")
    words = ["restore", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--strength", "0.5"]
    imported = _imported_by([*words, "--model", str(tiny_model), "--engine", "onnx"])
    assert (tmp_path / "b.png").exists()
    assert not imported & {
        *("pydantic", "cmudrn.photos.record", "cmudrn.restoration.motion"),
        *("cmudrn.restoration.frame_restorer", "cmudrn.restoration.profile", "torch", "av"),
    }


def _imported_by(words: list[str]) -> set[str]:
    """Return the modules that a command line imports."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('\\nimported', *sys.modules))\n"
        "sys.argv[0] = 'cmudrn'\n"
        "from cmudrn.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("\nimported ")[2].split())
