"""The command line: `cmudrn COMMAND`. One file for each command, all registered on `app`.

Importing this package must stay fast (`cmudrn --help` in under half a second), so command files
import the rooms they need inside each command.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cmudrn.cli.terminal import complain, describe, exit_code, missing_extra
from cmudrn.errors import CmudrnError

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


with _one_sentence():  # the imports take long enough for a Ctrl-C
    import cmudrn.cli.batch
    import cmudrn.cli.bench
    import cmudrn.cli.desktop
    import cmudrn.cli.doctor
    import cmudrn.cli.evaluate
    import cmudrn.cli.models
    import cmudrn.cli.page
    import cmudrn.cli.parity
    import cmudrn.cli.restore
    import cmudrn.cli.serve
    import cmudrn.cli.sheet
    import cmudrn.cli.study
    import cmudrn.cli.train
    import cmudrn.cli.verify
    import cmudrn.cli.watch
    import cmudrn.cli.weather  # noqa: F401  (registers its commands)
    from cmudrn.cli.app import app


def main() -> None:
    """Run the command line; errors become one sentence on stderr and an exit code."""
    with _one_sentence():
        _make_streams_usable()
        app()


def _make_streams_usable() -> None:
    """Give closed standard streams a file, and letters that a terminal lacks an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # sys.__stdout__ still tells
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


__all__ = ["app", "main"]
