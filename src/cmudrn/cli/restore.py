"""`cmudrn restore` and `cmudrn models`: restoring files, and with what."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmudrn.cli.app import app
from cmudrn.cli.terminal import complain, printable
from cmudrn.errors import CmudrnError, MissingExtraError

if TYPE_CHECKING:
    from cmudrn.photos.planning import Job
    from cmudrn.photos.restore_photo import Options
    from cmudrn.restoration import Restorer, RestoreSettings

NETWORK, RESULT, VIDEO, LIMITS = "Network", "Result", "Video", "Limits"

Model = Annotated[
    str, typer.Option(help="A shipped model's name, or an ONNX file.", rich_help_panel=NETWORK)
]
Engine = Annotated[
    str,
    typer.Option(
        help="What runs the network: auto (the fastest), native, onnx or openvino.",
        rich_help_panel=NETWORK,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, fp32 or bf16; auto is bfloat16 where it is faster and as good.",
        rich_help_panel=NETWORK,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Milliseconds for the network on one picture: stages, recursions and threads are "
        "chosen to fit, from what `cmudrn bench` measured here.",
        rich_help_panel=LIMITS,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Processor threads; by default all.", rich_help_panel=LIMITS),
]
Stages = Annotated[
    int | None,
    typer.Option(min=1, help="Outer recursions: fewer are faster.", rich_help_panel=NETWORK),
]
Recursions = Annotated[
    int | None,
    typer.Option(min=1, help="Inner recursions: fewer are faster.", rich_help_panel=NETWORK),
]

_NEED_FILES = frozenset({"layers", "as_json", "evidence", "gate", "score"})
"""Parameters of `restore` that mean nothing where a picture is a stream."""

_TAKEN_BY_FRAMES = frozenset(
    "inputs output frames strength change_gating model stages recursions engine precision threads "
    "budget_ms".split()
)
"""Parameters of `restore` that raw frames obey; any other would go unheard."""


@dataclass(frozen=True)
class Clips:
    """What is asked for of video alone; see `ClipSettings`."""

    side_by_side: bool
    codec: str | None
    crf: int | None
    pixel_format: str | None


@app.command(no_args_is_help=True)
def restore(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders, patterns, or - for standard input."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="A file, a folder, or - for standard output. By default photo.jpg becomes "
            "photo.restored.jpg beside it, and the folder photos becomes photos.restored.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(min=0, max=1, help="0 changes nothing, 1 all.", rich_help_panel=RESULT),
    ] = 1.0,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Also write what each branch and the fusion removed, as photo.removed-rain.png "
            "and so on: grey 128 is nothing, brighter is light taken away. At full strength and "
            "without change_gating.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            help="jpeg, png, tiff, webp or bmp; by default as the input.", rich_help_panel=RESULT
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Of JPEG and WebP; by default 95, and lossless WebP stays lossless.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    subsampling: Annotated[
        str,
        typer.Option(
            help="Colours of JPEG: 444 keeps all, 420 a quarter, auto decides by quality.",
            rich_help_panel=RESULT,
        ),
    ] = "auto",
    change_gating: Annotated[
        bool,
        typer.Option(
            "--change_gating/--no-change_gating",
            help="Hold back changes too faint to be weather: mostly gleams and letters taken for "
            "drops and flakes.",
            rich_help_panel=RESULT,
        ),
    ] = True,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate",
            help="Leave pictures and frames untouched whose weather score says clear.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    score: Annotated[
        bool,
        typer.Option(
            "--score",
            help="Tell the weather score; of a clip, write each frame's to NAME.weather.csv.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    side_by_side: Annotated[
        bool,
        typer.Option(
            "--side-by-side",
            help="Put the source at the left of the result.",
            rich_help_panel=VIDEO,
        ),
    ] = False,
    codec: Annotated[
        str | None,
        typer.Option(
            help="h264, hevc, vp9, av1, ffv1, prores or mpeg2; by default as the clip, or h264.",
            rich_help_panel=VIDEO,
        ),
    ] = None,
    crf: Annotated[
        int | None,
        typer.Option(
            min=0, max=63, help="The codec's quality: less is better.", rich_help_panel=VIDEO
        ),
    ] = None,
    pixel_format: Annotated[
        str | None,
        typer.Option(
            help="FFmpeg's name, such as yuv420p; by default as the clip.", rich_help_panel=VIDEO
        ),
    ] = None,
    frames: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Standard input and output carry raw frames, such as rgb24 640x480.",
            metavar="LAYOUT SIZE",
            rich_help_panel=VIDEO,
        ),
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence",
            help="Mark results as enhanced (XMP) and write beside each a record of how it came "
            "about, which `cmudrn verify` checks.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace results that exist.", rich_help_panel=RESULT),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line a file.", rich_help_panel=RESULT)
    ] = False,
    model: Model = "cmudrn",
    stages: Stages = None,
    recursions: Recursions = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    budget_ms: Budget = None,
    max_pixels: Annotated[
        int,
        typer.Option(min=1, help="Refuse larger pictures.", rich_help_panel=LIMITS),
    ] = 128_000_000,
    max_bytes: Annotated[
        int, typer.Option(min=1, help="Refuse larger files.", rich_help_panel=LIMITS)
    ] = 1 << 30,
) -> None:
    """Remove rain and snow from pictures and video.

    JPEG, PNG, TIFF, WebP and BMP; profile, EXIF and other metadata are kept. Video keeps sound,
    subtitles and frame times; a run that was stopped goes on where it was. One bad file is
    reported and the rest goes on; the exit code is 0 when all were restored and 1 otherwise.
    """
    from cmudrn.photos.planning import plan_jobs, refuse_collisions
    from cmudrn.photos.provenance import Provenance
    from cmudrn.photos.restore_photo import Options
    from cmudrn.restoration import RestoreSettings

    _check_choices(format, subsampling)
    if evidence and (precision == "bf16" or budget_ms is not None):
        raise typer.BadParameter("--evidence is made in fp32, and without --budget-ms.")
    # bfloat16 rounds differently with other threads; a record must give the same bytes again.
    precision = "fp32" if evidence else precision
    if budget_ms is not None and (stages or recursions or threads):
        raise typer.BadParameter("--budget-ms chooses stages, recursions and threads itself.")
    given = _options_given(context)
    if frames is not None:
        if unheard := [given[name] for name in given if name not in _TAKEN_BY_FRAMES]:
            raise typer.BadParameter(f"--frames goes without {_enumerate(unheard)}.")
        restorer = _load(model, engine, threads, precision, budget_ms, change_gating)
        _restore_raw(
            inputs, output, frames, restorer, RestoreSettings(strength, stages, recursions)
        )
        return
    if evidence and gate:
        raise typer.BadParameter("--evidence records what was restored; it goes without --gate.")
    _check_streams(inputs, output, [given[name] for name in given if name in _NEED_FILES])
    jobs = [] if inputs == ["-"] else plan_jobs(inputs, output, format)
    options = Options(
        _load(model, engine, threads, precision, budget_ms, change_gating),
        strength=strength,
        stages=stages,
        recursions=recursions,
        layers=layers,
        format=format,
        quality=quality,
        subsampling=subsampling,
        overwrite=overwrite,
        max_pixels=max_pixels,
        max_bytes=max_bytes,
        evidence=Provenance(model, engine, threads, tuple(sys.argv[1:])) if evidence else None,
        gate=gate,
        score=score,
    )
    if inputs == ["-"] or output == "-":
        _restore_stream(inputs[0], output, options)
        return
    if not jobs:
        raise CmudrnError("There is no picture among the inputs.")
    written = [(job.source, path) for job in jobs for path in _results(job, options)]
    refuse_collisions(written, overwrite)
    clips = Clips(side_by_side, codec, crf, pixel_format)
    if not _restore_jobs(jobs, options, clips, as_json):
        raise typer.Exit(1)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with cmudrn: hash, licence, training data, scores."""
    from dataclasses import asdict

    from cmudrn.models import shipped_models

    shipped = shipped_models()
    if as_json:
        records = [{**asdict(model), "path": str(model.path)} for model in shipped.values()]
        typer.echo(json.dumps(records, indent=2))
        return
    for model in shipped.values():
        typer.echo(f"{model.name}  {model.description}")
        typer.echo(f"  licence     {model.licence}")
        typer.echo(f"  sha256      {model.sha256}")
        typer.echo(f"  trained on  {model.trained_on}")
        for name, scores in model.scores.items():
            row = ", ".join(f"{measure} {value:g}" for measure, value in scores.items())
            typer.echo(f"  {name:<12}{row}")


@app.command()
def verify(
    outputs: Annotated[
        list[Path], typer.Argument(metavar="OUTPUT", help="Files restored with --evidence.")
    ],
    source: Annotated[
        Path | None, typer.Option("--input", help="The input, if it was moved.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model file, if it was moved.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a file.")] = False,
) -> None:
    """Make restored files again from their records and say whether the bytes match.

    The exit code is 0 when input, model, output and the new run all match the record.
    """
    from dataclasses import asdict

    from cmudrn.photos.verify import verify as check

    good = True
    for output in outputs:
        try:
            checks = check(output, source, model)
        except CmudrnError as error:
            good = False
            record = {"output": str(output), "ok": False, "error": str(error)}
            typer.echo(json.dumps(record)) if as_json else complain(str(error))
            continue
        ok = all(one.ok for one in checks)
        good = good and ok
        if as_json:
            record = {"output": str(output), "ok": ok, "checks": [asdict(one) for one in checks]}
            typer.echo(json.dumps(record))
        else:
            for one in checks:
                mark = "ok      " if one.ok else "DIFFERS "
                typer.echo(f"{mark}{one.subject:<8}{printable(one.finding)}")
    if not good:
        raise typer.Exit(1)


def _load(
    model: str,
    engine: str,
    threads: int | None,
    precision: str,
    budget_ms: float | None,
    change_gating: bool,
) -> Restorer:
    import cmudrn
    from cmudrn.engines import open_engine
    from cmudrn.engines.profile import load_profile
    from cmudrn.restoration.time_budget import BudgetRestorer

    if budget_ms is None:
        return cmudrn.load(
            model, engine=engine, threads=threads, precision=precision, change_gating=change_gating
        )

    info = open_engine(model, engine, 1, precision).info
    profile = load_profile(info, f"{engine} {precision}")
    return BudgetRestorer(
        lambda n: open_engine(model, engine, n, precision),
        profile,
        budget_ms,
        change_gating=change_gating,
    )


def _check_choices(format: str | None, subsampling: str) -> None:
    from cmudrn.image import FORMATS, SUBSAMPLINGS

    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}.")
    if subsampling not in SUBSAMPLINGS:
        raise typer.BadParameter(f"{subsampling!r} is not one of {', '.join(SUBSAMPLINGS)}.")


def _options_given(context: typer.Context) -> dict[str, str]:
    """Return what stands on the command line: a parameter's name -> how it is written there."""
    given = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            given[name] = parameter.opts[0]
    return given


def _enumerate(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _check_streams(inputs: list[str], output: str | None, need_files: list[str]) -> None:
    """Refuse what standard input and output do not do.

    Args:
        inputs: as given.
        output: as given.
        need_files: the options given that need files.

    Raises:
        typer.BadParameter: there are several pictures, or options that need files, or a picture
            would be written to a terminal.
        CmudrnError: standard output is closed.
    """
    if len(inputs) > 1 and ("-" in inputs or output == "-"):
        raise typer.BadParameter("Standard input and output take a single picture.")
    if need_files and (output == "-" or "-" in inputs):
        raise typer.BadParameter(f"Standard input and output go without {_enumerate(need_files)}.")
    if output == "-" or (inputs == ["-"] and output is None):
        _check_stdout("A picture is not written to a terminal; redirect it or use -o.")


def _check_stdout(refusal: str) -> None:
    if sys.__stdout__ is None:
        raise CmudrnError("Standard output is closed.")
    if sys.stdout.isatty():
        raise typer.BadParameter(refusal)


def _restore_stream(source: str, output: str | None, options: Options) -> None:
    """Restore one picture from standard input, to standard output, or both."""
    from dataclasses import replace

    from cmudrn.files import atomic_file, check_target
    from cmudrn.image import format_for, read_bytes
    from cmudrn.photos.planning import check_format
    from cmudrn.photos.restore_photo import make_folder, restore_bytes

    if source == "-":
        data, name = _read_stdin(options.max_bytes), "Standard input"
    else:
        data, name = read_bytes(source, options.max_bytes), source
    if output is None or output == "-":
        restored, notes = restore_bytes(data, options, name=name)
        sys.stdout.buffer.write(restored)
        sys.stdout.buffer.flush()
    else:
        target = Path(output)
        check_target(None, target, options.overwrite)
        check_format(target, options.format)
        options = replace(options, format=options.format or format_for(target))
        restored, notes = restore_bytes(data, options, name=name)
        make_folder(target.parent)
        with atomic_file(target) as file:
            file.write(restored)
    for note in notes:
        complain(f"{name}: {note}")


def _read_stdin(max_bytes: int) -> bytes:
    """Return standard input, or one byte more than the limit if it holds more."""
    data = bytearray()
    # In pieces, since a read of the whole limit would ask for that much memory at once.
    while piece := sys.stdin.buffer.read(min(max_bytes + 1 - len(data), 1 << 20)):
        data += piece
    return bytes(data)


def _restore_raw(
    inputs: list[str],
    output: str | None,
    frames: tuple[str, str],
    restorer: Restorer,
    settings: RestoreSettings,
) -> None:
    """Restore raw frames from standard input to standard output."""
    from cmudrn.video.raw_frames import RawFormat, restore_raw

    if inputs != ["-"] or output not in (None, "-"):
        raise typer.BadParameter("--frames reads standard input and writes standard output (-).")
    _check_stdout("Frames are not written to a terminal; pipe them on.")
    form = RawFormat.parse(*frames)
    restore_raw(sys.stdin.buffer, sys.stdout.buffer, form, restorer, settings)


def _restore_jobs(jobs: list[Job], options: Options, clips: Clips, as_json: bool) -> bool:
    """Restore every file, tell of each, and return whether all went well."""
    failed = 0
    with _progress(len(jobs), as_json) as show:
        for job in jobs:
            record = _restore_job(job, options, clips, show(job))
            failed += not record["ok"]
            _tell(record, as_json)
    if failed and len(jobs) > 1 and not as_json:
        complain(f"{failed} of {len(jobs)} files were not restored.")
    return not failed


def _restore_job(
    job: Job, options: Options, clips: Clips, on_tile: Callable[[int, int], None]
) -> dict[str, Any]:
    from cmudrn.photos.planning import is_clip
    from cmudrn.photos.restore_photo import restore_file

    try:
        if job.error:
            raise CmudrnError(job.error)
        if is_clip(job.source):
            return _restore_clip(job, options, clips, on_tile)
        return restore_file(job.source, job.target, options, on_tile)
    except CmudrnError as error:
        sentence = str(error)
    except MemoryError:
        sentence = f"There is not enough memory for {job.source}."
    except OSError as error:  # a net: whatever befalls one file, the rest goes on
        sentence = f"Cannot restore {job.source}: {error.strerror}."
    return {"input": str(job.source), "ok": False, "error": sentence}


def _results(job: Job, options: Options) -> list[Path]:
    """Return every file that a job writes."""
    from cmudrn.photos.planning import is_clip
    from cmudrn.photos.restore_photo import result_paths

    if job.error:
        return []
    if not is_clip(job.source):
        return result_paths(job.target, options)
    try:
        from cmudrn.video.settings import layer_path, scores_path
    except ImportError:  # nothing is written then
        return [job.target]
    names = (*options.restorer.info.tasks, "fused") if options.layers else ()
    layers = [layer_path(job.target, name) for name in names]
    return [job.target, *layers, *([scores_path(job.target)] if options.score else [])]


def _restore_clip(
    job: Job, options: Options, clips: Clips, on_frame: Callable[[int, int], None]
) -> dict[str, Any]:
    from cmudrn.restoration import RestoreSettings

    try:
        from cmudrn.video import ClipSettings, VideoFormat, restore_clip
    except ImportError:
        raise MissingExtraError(str(job.source), "video") from None
    if options.evidence:
        raise CmudrnError(f"{job.source} is video; --evidence is for pictures.")
    settings = ClipSettings(
        RestoreSettings(
            options.strength,
            options.stages,
            options.recursions,
            options.layers,
            options.score,
            options.gate,
        ),
        side_by_side=clips.side_by_side,
        overwrite=options.overwrite,
        format=VideoFormat(clips.codec, clips.crf, clips.pixel_format),
    )
    try:
        result = restore_clip(options.restorer, job.source, job.target, settings, on_frame)
        return result.to_json()
    except KeyboardInterrupt:
        complain(f"{job.source}: finished parts are kept; the same command goes on from there.")
        raise


def _tell(record: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(record))
    elif record["ok"]:
        typer.echo(printable(f"{record['input']} -> {record['output']}{_weather(record)}"))
        for note in record["notes"]:
            complain(f"{record['input']}: {note}")
    else:
        complain(record["error"])


def _weather(record: dict[str, Any]) -> str:
    """Return what to say of a file's weather score, "" where none was asked for."""
    if "passed" in record and "frames" in record:
        passed, frames = record["passed"], record["frames"]
        return f" ({passed} of {frames} frames passed as clear)" if passed else ""
    if not record.get("weather"):
        return ""
    scores = ", ".join(f"{name} {value:.0%}" for name, value in record["weather"].items())
    return f" ({scores}{'; passed as clear' if record['passed'] else ''})"


@contextmanager
def _progress(files: int, quiet: bool) -> Iterator[Callable[[Job], Callable[[int, int], None]]]:
    """Yield a function that starts a file's part of a progress bar on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda job: lambda done, total: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=files)
        started = iter(range(files))

        def show(job: Job) -> Callable[[int, int], None]:
            index = next(started)
            bar.update(task, completed=index, description=escape(printable(job.source.name)))
            return lambda done, total: bar.update(task, completed=index + done / total)

        yield show
