"""`cmudrn restore`: photos and clips, one by one, in folders, or through pipes."""

from __future__ import annotations

from collections.abc import Mapping, Set

import typer
from typer import BadParameter

from cmudrn.cli import options
from cmudrn.cli.application import app
from cmudrn.cli.network import Network

_NEED_FILES = frozenset({"layers", "as_json", "evidence", "gate", "score", "skip_existing"})
"""Parameters that mean nothing where a picture is a stream."""

_TAKEN_BY_FRAMES = frozenset(
    {"inputs", "output", "frames", "strength", "change_gating", "model", "stages", "recursions"}
    | {"dehaze", "engine", "precision", "device", "threads", "budget_ms"}
    | {"quiet", "verbose", "temporal"}
)
"""Parameters that raw frames obey; any other would go unheard."""

_EXCLUDE_EACH_OTHER = {
    ("budget_ms", "stages"): "it chooses the stages itself",
    ("budget_ms", "recursions"): "it chooses the recursions itself",
    ("budget_ms", "threads"): "it chooses the threads itself",
    ("budget_ms", "device"): "it knows the times of the processor",
    ("evidence", "device"): "another card would not give the same bytes again",
    ("evidence", "budget_ms"): "a record holds what was asked for, not what a clock chose",
    ("evidence", "gate"): "a record says how a result was restored",
    ("overwrite", "skip_existing"): "a result that exists is replaced or left",
}
"""Pairs of parameters that do not go together -> why."""


@app.command(no_args_is_help=True)
def restore(
    context: typer.Context,
    inputs: options.Inputs,
    output: options.Output = None,
    strength: options.Strength = 1.0,
    side_by_side: options.SideBySide = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    as_json: options.JsonLines = False,
    model: options.Model = "cmudrn",
    format: options.Format = None,
    quality: options.Quality = None,
    subsampling: options.Subsampling = "auto",
    layers: options.Layers = False,
    score: options.Score = False,
    gate: options.Gate = False,
    change_gating: options.ChangeGating = True,
    dehaze: options.Dehaze = None,
    evidence: options.Evidence = False,
    stages: options.Stages = None,
    recursions: options.Recursions = None,
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    device: options.Device = "cpu",
    threads: options.Threads = None,
    budget_ms: options.Budget = None,
    codec: options.Codec = None,
    crf: options.Crf = None,
    pixel_format: options.PixelFormat = None,
    temporal: options.Temporal = True,
    frames: options.Frames = None,
    follow_links: options.FollowLinks = False,
    max_pixels: options.MaxPixels = 128_000_000,
    max_bytes: options.MaxBytes = 1 << 30,
) -> None:
    """Remove rain and snow from pictures and video.

    JPEG, PNG, TIFF, WebP, AVIF and BMP: profile, EXIF and other metadata are kept.
    Video: sound, subtitles and frame times are kept, and a stopped run resumes.
    A bad file is named, and the rest is restored. The exit code is then 1.
    """
    from cmudrn.cli.restore_files import Run
    from cmudrn.cli.restore_stream import restore_raw_frames, restore_stream
    from cmudrn.photos import PhotoSettings, plan_jobs
    from cmudrn.restoration import RestoreSettings

    given = _check_options(context, format, subsampling, precision if evidence else "fp32")
    network = Network(model, engine, "fp32" if evidence else precision, threads, budget_ms, device)
    wanted = RestoreSettings(strength, stages, recursions, layers, score, gate, dehaze)
    _refuse_unheard(given, framed=frames is not None, streamed="-" in (*inputs, output))
    if frames is not None:
        opened = network.open(change_gating)
        return restore_raw_frames(inputs, output, frames, opened, wanted, temporal=temporal)
    photo = PhotoSettings(wanted, format, quality, subsampling, side_by_side, overwrite,
        max_pixels, max_bytes, network.provenance() if evidence else None)  # fmt: skip
    if "-" in (*inputs, output):
        return restore_stream(inputs, output, network.open(change_gating), photo)
    plan = plan_jobs(inputs, output, format, follow_links=follow_links)
    run = Run(network.open(change_gating), photo, (codec, crf, pixel_format), as_json, temporal)
    raise typer.Exit(int(not run.restore(plan, skip_existing=skip_existing)))


def _check_options(
    context: typer.Context, format: str | None, subsampling: str, precision: str
) -> dict[str, str]:
    """Return what stands on the command line: a parameter's name -> how it is written there.

    Raises:
        BadParameter: options do not go together, or have values that there are not.
    """
    from cmudrn.image import FORMATS, SUBSAMPLINGS

    given = {
        str(parameter.name): [*parameter.opts, *parameter.secondary_opts][0]
        for parameter in context.command.params
        if _is_given(context, str(parameter.name))
    }
    for (one, other), why in _EXCLUDE_EACH_OTHER.items():
        if one in given and other in given:
            raise BadParameter(f"{given[one]} goes without {given[other]}: {why}.")
    if precision == "bf16":  # it rounds differently with other threads
        raise BadParameter("--evidence is made in fp32: a record must give the same bytes again.")
    if format is not None and format not in FORMATS:
        raise BadParameter(f"{format!r} is not one of {', '.join(FORMATS)}.")
    if subsampling not in SUBSAMPLINGS:
        raise BadParameter(f"{subsampling!r} is not one of {', '.join(SUBSAMPLINGS)}.")
    return given


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse_unheard(given: Mapping[str, str], *, framed: bool, streamed: bool) -> None:
    """Refuse what raw frames, or a picture that is a stream, would not obey."""
    if framed:
        _refuse(given, set(given) - _TAKEN_BY_FRAMES, "--frames goes")
    elif streamed:
        _refuse(given, _NEED_FILES & set(given), "Standard input and output go")


def _refuse(given: Mapping[str, str], names: Set[str], what: str) -> None:
    words = [given[name] for name in given if name in names]
    if words:
        listed = " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
        raise BadParameter(f"{what} without {listed}.")
