"""`cmudrn weather`: a folder of clean pictures in rain or snow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.app import app
from cmudrn.errors import CmudrnError

PRESETS = {"rain": "csd-rain", "snow": "csd-snow"}


@app.command(no_args_is_help=True)
def weather(
    kind: Annotated[str, typer.Argument(metavar="rain|snow", help="What falls.")],
    clean: Annotated[Path, typer.Argument(help="Folder of clean pictures.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the dataset.")],
    preset: Annotated[
        str | None, typer.Option(help="csd-rain, light-rain, csd-snow, snow, ...")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    severity: Annotated[float, typer.Option(help="0 clean, 3 the preset, 5 the worst.")] = 3.0,
    streaks: Annotated[
        Path | None,
        typer.Option(help="Folder of published rain screens, or of Columbia's streak database."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Moving frames of each picture.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Render a folder in rain or snow, as the dataset CSD lays out its files.

    Run it again and it goes on where it stopped; the result does not depend on that, nor on the
    number of workers.
    """
    from cmudrn.datasets.rendering import Rendering, render_folder

    if kind not in PRESETS:
        raise typer.BadParameter(f"{kind!r} is neither rain nor snow.")
    if streaks is not None and (kind != "rain" or preset is not None):
        raise CmudrnError("--streaks is for rain, and takes the place of --preset.")
    rendering = Rendering(
        clean, output, kind, preset or PRESETS[kind], seed, severity, streaks, frames
    )

    def report(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr)

    made = render_folder(rendering, workers, report)
    typer.echo(f"{made} pictures rendered into {output}.")
