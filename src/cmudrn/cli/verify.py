"""`cmudrn verify`: restored files made again from their records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli import options
from cmudrn.cli.application import app
from cmudrn.cli.terminal import complain, describe, say, show_json
from cmudrn.errors import CmudrnError


@app.command()
def verify(
    outputs: options.Outputs,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="The input, or the folder that it is in. Needed where it is not in the record's "
            "folder or below.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The model file. Needed where it is not a shipped one."),
    ] = None,
    as_json: options.JsonLines = False,
    max_pixels: options.MaxPixels = 128_000_000,
    max_bytes: options.MaxBytes = 1 << 30,
) -> None:
    """Make restored files again from their records and say whether the bytes match.

    The exit code is 0 when input, model, output and the new run all match the record. A record
    may come from a stranger: only regular files in its folder or below are read.
    """
    from dataclasses import asdict

    from cmudrn.photos.verify import Limits
    from cmudrn.photos.verify import verify as check

    good = True
    for output in outputs:
        try:
            checks = check(output, source, model, Limits(max_pixels, max_bytes))
        except CmudrnError as error:
            good = False
            record = {"output": str(output), "ok": False, "error": describe(error)}
            show_json(record) if as_json else complain(describe(error))
            continue
        ok = all(one.ok for one in checks)
        good = good and ok
        if as_json:
            record = {"output": str(output), "ok": ok, "checks": [asdict(one) for one in checks]}
            show_json(record)
        else:
            for one in checks:
                say(f"{'ok      ' if one.ok else 'DIFFERS '}{one.subject:<8}{one.finding}")
    if not good:
        raise typer.Exit(1)
