"""Every command is there for a user to find, and says what it is for."""

from __future__ import annotations

from pathlib import Path

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
