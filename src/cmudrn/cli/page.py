"""`cmudrn page`: a page that restores in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli import options
from cmudrn.cli.application import app
from cmudrn.cli.terminal import say


@app.command()
def page(
    folder: Annotated[Path, typer.Argument(help="Folder for the page's files.")],
    model: Annotated[
        list[str],
        typer.Option(
            metavar="NAME|FILE",
            help="Shipped name or .onnx file, repeatable; the page begins with the first.",
        ),
    ] = ["cmudrn"],  # noqa: B006
    overwrite: options.Overwrite = False,
) -> None:
    """Write a page that restores photos in the visitor's browser: no server, nothing uploaded."""
    from cmudrn.page import build_page

    sizes = build_page(folder, model, overwrite=overwrite)
    say(f"{folder}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB")
    say(f"try it: python -m http.server --directory {folder} --bind 127.0.0.1 8080")
