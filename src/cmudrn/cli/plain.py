"""`cmudrn export --plain`: a model file for the runtimes of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.terminal import say
from cmudrn.errors import InvalidSettingError

Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Write a model file (or a shipped model, by name) for other programs: one input, "
        "no loops. Needs no torch.",
    ),
]
Stages = Annotated[int | None, typer.Option(min=1, max=64, help="With --plain: T of the file.")]
Recursions = Annotated[int | None, typer.Option(min=1, max=64, help="With --plain: S of the file.")]
Size = Annotated[str, typer.Option(help="With --plain: HxW of a fixed input; any size otherwise.")]


def export_plain_file(
    model: Path,
    output: Path,
    *,
    stages: int | None,
    recursions: int | None,
    size: str,
    overwrite: bool,
) -> None:
    """Write the file and say what it is."""
    from cmudrn.models.plain_export import export_plain

    info = export_plain(
        model,
        output,
        stages=stages,
        recursions=recursions,
        size=_sides(size) if size else None,
        overwrite=overwrite,
    )
    depth = (stages or info.stages, recursions or info.recursions)
    shape = f"1x3x{size}" if size else "Nx3xHxW"
    say(f"{output}: {info.name} at T = {depth[0]}, S = {depth[1]}, input {shape}")
    if info.veil_weights:
        typer.echo("The veil estimator of this model is left out: fog and haze stay.", err=True)


def _sides(size: str) -> tuple[int, int]:
    """Return (H, W) of a text such as 480x640."""
    height, _, width = size.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InvalidSettingError(f"A size is HxW, such as 480x640, not {size}.", setting="size")
    return int(height), int(width)
