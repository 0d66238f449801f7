"""`cmudrn watch`: a camera, an address or a growing folder, restored as it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cmudrn.cli import options
from cmudrn.cli.application import app
from cmudrn.cli.outlets import Mqtt, Outlets, Publish, Push
from cmudrn.cli.terminal import show, show_json
from cmudrn.errors import MissingExtraError

SourceText = Annotated[
    str,
    typer.Argument(
        help="A camera (/dev/video0), an address (rtsp://, http://) or a folder that grows."
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="An image that is replaced by each newer one, or a folder: of a watched folder "
        "each image goes there under its name and that of the folders it lies in.",
    ),
]
Record = Annotated[
    Path | None, typer.Option(help="Record what was restored of a stream to this .mkv file.")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace a recording, and images of a folder, that were there."
    ),
]
Existing = Annotated[
    bool,
    typer.Option(
        "--existing",
        help="Restore images of a folder, too, that are there at first and have no result yet.",
    ),
]
Gate = Annotated[
    bool, typer.Option("--gate", help="Leave frames as they are that show clear weather.")
]
Strength = Annotated[
    float, typer.Option(min=0, max=1, help="0 changes nothing, 1 is full strength.")
]
Stages = Annotated[int | None, typer.Option(min=1, help="Outer recursions. Fewer are faster.")]
Recursions = Annotated[int | None, typer.Option(min=1, help="Inner recursions. Fewer are faster.")]
Seconds = Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")]
Stale = Annotated[
    float, typer.Option(min=0.05, help="Seconds without a frame until STALE is printed.")
]
Report = Annotated[float, typer.Option(min=0.1, help="Seconds between reports.")]
Waiting = Annotated[int, typer.Option(min=1, help="Frames of a stream that may wait.")]
Attempts = Annotated[
    int | None,
    typer.Option(
        min=0, help="How often in a row a lost source is opened again. Without it there is no end."
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds until a silent address counts as lost.")
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="Let the address name others: playlists (HLS, DASH), redirects to other hosts.",
    ),
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Refuse larger frames; by default 8192x4320.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Tell events as JSON lines.")]
Lookahead = Annotated[
    int,
    typer.Option(
        min=0, max=1, help="1 fuses each frame with the next one too, and shows it a frame later."
    ),
]
Model = Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")]
Engine = Annotated[str, typer.Option(help="What runs the network: auto, native, onnx or openvino.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Processor threads.")]


@app.command(no_args_is_help=True)
def watch(
    source: SourceText,
    output: Output = None,
    record: Record = None,
    overwrite: Overwrite = False,
    existing: Existing = False,
    gate: Gate = False,
    strength: Strength = 1.0,
    stages: Stages = None,
    recursions: Recursions = None,
    seconds: Seconds = None,
    stale: Stale = 2.0,
    report: Report = 10.0,
    waiting: Waiting = 1,
    attempts: Attempts = None,
    timeout: Timeout = 10.0,
    follow_links: FollowLinks = False,
    max_pixels: MaxPixels = None,
    temporal: options.Temporal = True,
    dehaze: options.Dehaze = None,
    lookahead: Lookahead = 0,
    publish: Publish = "",
    push: Push = "",
    mqtt: Mqtt = "",
    as_json: AsJson = False,
    model: Model = "cmudrn",
    engine: Engine = "auto",
    device: options.Device = "cpu",
    threads: Threads = None,
) -> None:
    """Remove rain and snow from a live source: a stream's newest frame, a folder's every image.

    Says LIVE and STALE as frames come and stay away, opens a lost source again, and reports
    latency (p50, p95, p99) and dropped frames of a stream. Ctrl-C ends it.
    """
    import cmudrn
    from cmudrn.restoration import RestoreSettings
    from cmudrn.restoration.weather_classifier import is_scorable

    try:
        from cmudrn.live import sources, watcher
        from cmudrn.video.limits import MAX_FRAME_PIXELS
    except ImportError:
        raise MissingExtraError("watch", "video") from None

    place = None if output is None else Path(output)
    written = tuple(path for path in (place, record) if path is not None)
    limits: Any = {"follow_links": follow_links, "max_pixels": max_pixels or MAX_FRAME_PIXELS}
    limits["results"] = place if existing else None
    opened = sources.open_source(source, timeout, skip=written, **limits)
    outlets = Outlets(place, record, overwrite, publish, push, mqtt)
    outlets.check(opened, output)
    restorer = cmudrn.load(model, engine=engine, threads=threads, device=device)
    score = outlets.wants_score and is_scorable(restorer.info)
    wanted = RestoreSettings(strength, stages, recursions, score=score, gate=gate, dehazing=dehaze)
    restore = watcher.make_restore(restorer, wanted, opened, lookahead if temporal else None)
    settings = watcher.WatchSettings(stale, report, waiting, attempts, seconds)
    folder = None if opened.is_sequence else Path(source)
    statistics = outlets.watch(opened, restore, _teller(as_json), settings, folder)
    show_json(statistics.to_json()) if as_json else show(str(statistics))


def _teller(as_json: bool) -> Callable[[str, str], None]:
    return _tell_as_json if as_json else _tell


def _tell(word: str, sentence: str) -> None:
    show(f"{word}: {sentence}", err=True)


def _tell_as_json(word: str, sentence: str) -> None:
    show_json({"event": word, "text": sentence}, err=True)
