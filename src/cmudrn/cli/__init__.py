"""The command line: `cmudrn COMMAND`. One file for each command, all registered on `app`.

A command must start fast: `main` imports the file of the one that runs, and command files import
the rooms they need inside each command.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cmudrn.cli.terminal import complain, describe, exit_code, missing_extra
from cmudrn.errors import CmudrnError

if TYPE_CHECKING:
    from cmudrn.cli.application import App, app

INTERRUPTED = 130
"""Exit code that Typer makes of Ctrl-C."""


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Make one sentence on stderr, and an exit code, of whatever ends the command line."""
    try:
        yield
    except CmudrnError as error:
        complain(describe(error))
        sys.exit(exit_code(error))
    except ImportError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        complain(str(missing))
        sys.exit(1)
    except MemoryError:
        complain("There is not enough memory.")
        sys.exit(1)
    except OSError as error:  # such as a full disk behind standard output
        place = f"{error.filename}: " if error.filename else ""
        complain(f"{place}{error.strerror or error}.")
        # Python writes what is left when it ends, and would complain of the same once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            complain("interrupted")
        raise


COMMANDS = (
    *("batch", "bench", "desktop", "doctor", "evaluate", "models", "page", "parity", "restore"),
    *("serve", "sheet", "train", "export", "study", "verify", "watch", "weather"),
)
"""In the order of the help; each is registered by the file of its name, but for those below."""
_ELSEWHERE = {"export": "train"}


def load(commands: Iterable[str] = COMMANDS) -> App:
    """Return the application with some of its commands, those that were loaded before included."""
    from cmudrn.cli.application import app

    for name in commands:
        importlib.import_module(f"cmudrn.cli.{_ELSEWHERE.get(name, name)}")
    app.put_in_order(COMMANDS)
    return app


def _wanted(words: Sequence[str]) -> Iterable[str]:
    """Return the commands that a command line needs: the one that it names, else all."""
    if words[:1] == ["--version"]:
        return ()
    named = next((word for word in words if not word.startswith("-")), "")
    return [named] if named in COMMANDS else COMMANDS


def main() -> None:
    """Run the command line; errors become one sentence on stderr and an exit code."""
    with _one_sentence():  # the imports, too, take long enough for a Ctrl-C
        _make_streams_usable()
        load(_wanted(sys.argv[1:]))()


def _make_streams_usable() -> None:
    """Give closed standard streams a file, and letters that a terminal lacks an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # sys.__stdout__ still tells
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return load()


__all__ = ["app", "main"]
