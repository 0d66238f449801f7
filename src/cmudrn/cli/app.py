"""The Typer application that every command file registers on."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="cmudrn",
    help="Remove rain and snow from photos, video and camera streams.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Remove rain and snow from photos, video and camera streams."""
