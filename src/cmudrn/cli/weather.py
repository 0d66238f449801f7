"""`cmudrn weather`: a folder of clean pictures in rain or snow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.options import FollowLinks
from cmudrn.cli.terminal import say, show_count
from cmudrn.errors import InvalidSettingError


@app.command(no_args_is_help=True)
def weather(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="rain, snow or haze.")],
    clean: Annotated[Path, typer.Argument(help="Folder of clean pictures.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the dataset.")],
    preset: Annotated[
        str | None, typer.Option(help="csd-rain, light-rain, csd-snow, snow, ...")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    severity: Annotated[float, typer.Option(help="0 clean, 3 the preset, 5 the worst.")] = 3.0,
    streaks: Annotated[
        Path | None,
        typer.Option(help="Folder of published rain screens, or of Columbia's streak database."),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames of a moving sequence from each picture.")
    ] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render at once.")] = 1,
    follow_links: FollowLinks = False,
) -> None:
    """Render a folder in rain or snow, in the layout of the data set CSD.

    The same command resumes a stopped rendering. The result depends neither on that nor on the
    number of workers. Rain and snow of the same images can share a folder.
    """
    from cmudrn.datasets.rendering import Rendering, kinds, render_folder

    presets = kinds()
    if kind not in presets:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(presets)}.")
    if streaks is not None and (kind != "rain" or preset is not None):
        raise InvalidSettingError("--streaks is for rain, and takes the place of --preset.")
    rendering = Rendering(
        clean, output, kind, preset or presets[kind], seed, severity, streaks, frames,
        follow_links,
    )  # fmt: skip

    def report(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total:
            show_count(f"{done}/{total}", last=done == total)

    made = render_folder(rendering, workers, report)
    say(f"{made} pictures rendered into {output}.")
