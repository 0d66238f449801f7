"""The command line: `cmudrn COMMAND`. One file a group of commands, all registered on `app`.

Importing this package must stay fast (`cmudrn --help` in under half a second), so command files
import the rooms they need inside each command.
"""

from __future__ import annotations

import sys

import cmudrn.cli.batch  # noqa: F401
import cmudrn.cli.bench  # noqa: F401
import cmudrn.cli.doctor  # noqa: F401
import cmudrn.cli.evaluate  # noqa: F401
import cmudrn.cli.parity  # noqa: F401
import cmudrn.cli.restore  # noqa: F401
import cmudrn.cli.serve  # noqa: F401
import cmudrn.cli.sheet  # noqa: F401
import cmudrn.cli.study  # noqa: F401
import cmudrn.cli.train  # noqa: F401
import cmudrn.cli.watch  # noqa: F401
import cmudrn.cli.weather  # noqa: F401  (registers its commands)
from cmudrn.cli.app import app
from cmudrn.errors import CmudrnError

INTERRUPTED = 130
"""Exit code that Typer makes of Ctrl-C."""


def main() -> None:
    """Run the command line; a `CmudrnError` becomes one sentence on stderr and exit code 1."""
    try:
        app()
    except CmudrnError as error:
        print(f"cmudrn: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("cmudrn: interrupted", file=sys.stderr)
        raise


__all__ = ["app", "main"]
