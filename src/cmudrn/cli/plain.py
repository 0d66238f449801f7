"""`cmudrn export --plain`: a model file for the runtimes of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.terminal import say, show
from cmudrn.errors import InvalidSettingError

Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Write a model for other programs: one input, one output, no loops. CHECKPOINT may "
        "be a shipped model's name or a model file (needs no torch); OUTPUT may be a .dtmodel "
        "package for darktable.",
    ),
]
Stages = Annotated[int | None, typer.Option(min=1, max=64, help="With --plain: T of the file.")]
Recursions = Annotated[int | None, typer.Option(min=1, max=64, help="With --plain: S of the file.")]
Size = Annotated[str, typer.Option(help="With --plain: HxW of a fixed input; any size otherwise.")]


@dataclass(frozen=True)
class PlainSettings:
    """What a command line says of a plain file; see `export_plain`."""

    stages: int | None = None
    recursions: int | None = None
    size: str = ""
    overwrite: bool = False


def export_plain_file(model: Path, output: Path, settings: PlainSettings) -> None:
    """Write the file and say what it is."""
    from cmudrn.models.plain_export import export_plain

    plain = export_plain(
        model,
        output,
        stages=settings.stages,
        recursions=settings.recursions,
        size=_sides(settings.size) if settings.size else None,
        overwrite=settings.overwrite,
    )
    shape = f"1x3x{settings.size}" if settings.size else "Nx3xHxW"
    depth = f"T = {plain.depth[0]}, S = {plain.depth[1]}"
    say(f"{output}: {plain.info.name} at {depth}, input {shape}, operator set {plain.opset}")
    if plain.info.veil_weights:
        show("The veil estimator of this model is left out: fog and haze stay.", err=True)


def _sides(size: str) -> tuple[int, int]:
    """Return (H, W) of a text such as 480x640."""
    height, _, width = size.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InvalidSettingError(f"A size is HxW, such as 480x640, not {size}.", setting="size")
    return int(height), int(width)
