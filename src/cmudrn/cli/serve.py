"""`cmudrn serve`: the page and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.options import Device
from cmudrn.errors import CmudrnError, InvalidSettingError, MissingExtraError


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    model: Annotated[
        list[str],
        typer.Option(
            help="A shipped model's name, or an ONNX file; repeatable. Without it all that ship."
        ),
    ] = [],  # noqa: B006
    allow_host: Annotated[
        list[str], typer.Option(help="Host name to answer to besides this machine's; repeatable.")
    ] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=0, help="Pictures at once. 0 chooses.")] = 0,
    waiting: Annotated[int, typer.Option(min=0, help="Requests that may wait.")] = 8,
    max_bytes: Annotated[int, typer.Option(min=1, help="Largest file, bytes.")] = 64 << 20,
    max_pixels: Annotated[int, typer.Option(min=1, help="Largest picture, pixels.")] = 25_000_000,
    memory: Annotated[
        int,
        typer.Option(min=0, help="MiB for pictures at work and answers in all. 0 chooses."),
    ] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest restoration, seconds.")] = 120.0,
    token_file: Annotated[
        Path | None,
        typer.Option(help="Answer only requests that show the token in this file (docs/serve.md)."),
    ] = None,
    device: Device = "cpu",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page and an API that restore pictures; nothing leaves this machine."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("This command", "serve") from error
    from cmudrn.server import Limits, create_app
    from cmudrn.server.serve import serve as run_server
    from cmudrn.server.tokens import read_token

    token = read_token(token_file) if token_file else None
    limits = Limits(
        bytes=max_bytes,
        pixels=max_pixels,
        layer_pixels=max_pixels // 2,
        webp_pixels=max_pixels * Limits.webp_pixels // Limits.pixels,
        worker_bytes=max(Limits.worker_bytes, 70 * max_pixels // 2),
        memory_bytes=(memory or max(256, 128 * workers)) << 20,
        workers=workers or Limits.workers,
        waiting=waiting,
        seconds=seconds,
    )
    hosts = ["127.0.0.1", "localhost", "::1", host, *allow_host]
    served = create_app(_named(model), limits, hosts, token, device)
    run_server(served, limits, host, port, open_page=open_page)


def _named(models: list[str]) -> dict[str, str]:
    """Return name -> name or path of the models to serve.

    Raises:
        CmudrnError: there is none, or two have the same name.
    """
    from cmudrn.models import shipped_models

    if not models:
        models = list(shipped_models())
    if not models:
        raise CmudrnError("No model is shipped with this copy; name a file with --model.")
    named: dict[str, str] = {}
    for model in models:
        name = Path(model).stem if model.endswith(".onnx") else model
        if name in named:
            raise InvalidSettingError(f"{named[name]} and {model} would both be served as {name}.")
        named[name] = model
    return named
