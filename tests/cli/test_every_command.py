"""Every command is registered and has a help text."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import cmudrn.cli

HELPERS = {"app", "network", "options", "progress", "restore_files", "restore_stream", "terminal"}
FILES = {entry.name for entry in pkgutil.iter_modules(cmudrn.cli.__path__)} - HELPERS
COMMANDS = [
    command.name or getattr(command.callback, "__name__", "")
    for command in cmudrn.cli.app.registered_commands
]


def test_every_file_of_commands_is_registered() -> None:
    from_files = {command.callback.__module__ for command in cmudrn.cli.app.registered_commands}
    assert from_files == {f"cmudrn.cli.{name}" for name in FILES}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cmudrn", command, "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f"cmudrn {command}" in done.stdout.decode()
