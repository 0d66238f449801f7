"""`cmudrn watch`: a camera, an address or a growing folder, restored as it comes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.app import app
from cmudrn.cli.terminal import printable
from cmudrn.errors import CmudrnError

if TYPE_CHECKING:
    from cmudrn.image import Pixels
    from cmudrn.live.watcher import Arrival, Recorder
    from cmudrn.restoration import Restorer, RestoreSettings


@app.command(no_args_is_help=True)
def watch(
    source: Annotated[
        str,
        typer.Argument(
            help="A camera (/dev/video0), an address (rtsp://, http://) or a folder that grows."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A picture that is replaced by each newer one, or a folder: of a watched folder "
            "each picture goes there under its name and that of the folders it lies in.",
        ),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record what was restored of a stream to this .mkv file.")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a recording, and pictures of a folder, that were there."
        ),
    ] = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="Leave frames as they are that show clear weather.")
    ] = False,
    strength: Annotated[float, typer.Option(min=0, max=1, help="0 changes nothing, 1 all.")] = 1.0,
    stages: Annotated[int | None, typer.Option(min=1, help="Fewer are faster.")] = None,
    recursions: Annotated[int | None, typer.Option(min=1, help="Fewer are faster.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long.")] = None,
    stale: Annotated[
        float, typer.Option(min=0.05, help="Seconds without a frame until STALE is said.")
    ] = 2.0,
    report: Annotated[float, typer.Option(min=0.1, help="Seconds between reports.")] = 10.0,
    waiting: Annotated[int, typer.Option(min=1, help="Frames of a stream that may wait.")] = 1,
    attempts: Annotated[
        int | None,
        typer.Option(min=0, help="How often in a row to open a lost source again; no end."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until a silent address counts as lost.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Tell events as JSON lines.")] = False,
    model: Annotated[str, typer.Option(help="A shipped model's name, or an ONNX file.")] = "cmudrn",
    engine: Annotated[str, typer.Option(help="What runs the network.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.")] = None,
) -> None:
    """Remove rain and snow from a live source: a stream's newest frame, a folder's every picture.

    Says LIVE and STALE as frames come and stay away, opens a lost source again, and reports
    latency (p50, p95, p99) and dropped frames of a stream. Ctrl-C ends it.
    """
    import cmudrn
    from cmudrn.restoration import RestoreSettings

    try:
        from cmudrn.live.watcher import Recorder, Watching, open_source
        from cmudrn.live.watcher import watch as run
    except ImportError:
        raise CmudrnError("watch needs the package av (pip install 'cmudrn[video]').") from None

    if record is not None and Path(source).is_dir():
        raise CmudrnError("A recording is made of a stream; the pictures of a folder are no film.")

    def tell(word: str, sentence: str) -> None:
        event = {"event": word, "text": sentence}
        line = json.dumps(event) if as_json else f"{word}: {printable(sentence)}"
        typer.echo(line, err=True)

    written = tuple(path for path in (output, record) if path is not None)
    opened = open_source(source, timeout, skip=written)
    restorer = cmudrn.load(model, engine=engine, threads=threads)
    settings = RestoreSettings(strength, stages, recursions, gate=gate)
    show = _OutputWriter(output, source, tell, overwrite=overwrite)
    with ExitStack() as stack:
        if record is not None:
            show.recorder = Recorder(record, overwrite=overwrite)
            stack.callback(show.recorder.close)
        watching = Watching(
            restore=_restoring(restorer, settings, moving=not Path(source).is_dir()),
            show=show,
            tell=tell,
            stale_s=stale,
            report_s=report,
            waiting=waiting,
            attempts=attempts,
        )
        statistics = run(opened, watching, seconds)
    summary = statistics.record()
    told = json.dumps(summary) if as_json else ", ".join(f"{k} {v}" for k, v in summary.items())
    typer.echo(told)


class _OutputWriter:
    """Writes each restored frame to where the user wants it."""

    def __init__(
        self,
        output: Path | None,
        source: str,
        tell: Callable[[str, str], None],
        *,
        overwrite: bool,
    ) -> None:
        from cmudrn.image import SUFFIXES
        from cmudrn.photos.restore_photo import make_folder

        self.recorder: Recorder | None = None
        self._output, self._tell, self._overwrite = output, tell, overwrite
        self._own: set[Path] = set()
        self._is_file = output is not None and output.suffix.lower() in SUFFIXES
        if output is None or self._is_file:
            return
        if not Path(source).is_dir():
            raise CmudrnError("A stream's newest frame goes to a picture file, such as now.jpg.")
        if output.resolve() == Path(source).resolve():
            raise CmudrnError(f"{output} would be watched itself; choose another folder.")
        make_folder(output)

    def __call__(self, arrival: Arrival, pixels: Pixels) -> None:
        if self._output is not None:
            self._write(arrival, pixels, self._output)
        if self.recorder is not None:
            self.recorder.add(arrival, pixels)

    def _prepare(self, target: Path) -> None:
        """Make a place for a picture of a watched folder.

        Raises:
            Refused: a file is there that this run did not write.
            CmudrnError: its folder cannot be made.
        """
        from cmudrn.live.watcher import Refused
        from cmudrn.photos.restore_photo import make_folder

        if not self._overwrite and target not in self._own and os.path.lexists(target):
            raise Refused(f"{target} exists already (--overwrite replaces it).")
        make_folder(target.parent)

    def _write(self, arrival: Arrival, pixels: Pixels, output: Path) -> None:
        """Write a result with all that its file held beside the pixels.

        Raises:
            Refused: the format cannot hold it.
            CmudrnError: it cannot be written.
        """
        from cmudrn.files import atomic_file
        from cmudrn.image import Picture, encode_picture, format_for, unsupported_features
        from cmudrn.live.watcher import Refused

        whole, target, format = Picture(pixels), output, None
        if arrival.picture is not None:
            whole = replace(arrival.picture, pixels=pixels)
        if not self._is_file:
            target, format = output / arrival.name, whole.format  # whatever the name says
            self._prepare(target)
        format = format or format_for(target)
        try:
            data = encode_picture(whole, format)
        except CmudrnError as error:
            raise Refused(f"{arrival.name or target}: {error}") from error
        with atomic_file(target) as file:
            file.write(data)
        self._own.add(target)
        if arrival.picture is not None:
            for note in (*whole.notes, *unsupported_features(whole, format)):
                self._tell("NOTE", f"{arrival.name}: {note}")


def _restoring(
    restorer: Restorer, settings: RestoreSettings, moving: bool
) -> Callable[[Pixels], tuple[Pixels, bool]]:
    """Return what restores one frame; a folder's pictures have nothing to do with each other."""
    from cmudrn.restoration import Sequence, restore_image
    from cmudrn.restoration.weather_classifier import check_scorable

    if settings.scored:
        check_scorable(restorer.info)
    sequence = Sequence() if moving else None

    def restore(pixels: Pixels) -> tuple[Pixels, bool]:
        done = restore_image(restorer, pixels, settings, sequence=sequence)
        return done.pixels, done.passed

    return restore
