"""`cmudrn evaluate`: how good models are, by every protocol at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmudrn.cli.application import app
from cmudrn.cli.terminal import show, show_count
from cmudrn.errors import CmudrnError, InvalidSettingError, MissingExtraError

if TYPE_CHECKING:
    from cmudrn.datasets import Dataset
    from cmudrn.engines import Engine
    from cmudrn.evaluation.evaluator import OnPair, Scores
    from cmudrn.evaluation.methods import Method

    ScoreDownstream = Callable[[dict[str, Dataset], list[Method], int | None], list[list[str]]]


class Format(StrEnum):
    """How the table is printed."""

    markdown = "markdown"
    csv = "csv"
    latex = "latex"


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=]MODEL",
        help="Shipped name, .onnx file, checkpoint, run folder, .pth file of the DRN authors, "
        "tkl:, hdcwnet:, airnet: or prenet:FILE of other authors, or Python module:function.",
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(metavar="DATASET", help="KIND:PATH[@PART], such as rain100:Rain100L; repeatable."),
]
Weathers = Annotated[
    str,
    typer.Option(help="For folders of clean pictures: lay this over them; several with commas."),
]
ResultFolders = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]DIR", help="Folder of somebody's results; repeatable."),
]
Stages = Annotated[int | None, typer.Option(help="Outer recursions of the models.")]
Recursions = Annotated[int | None, typer.Option(help="Inner recursions of the models.")]
Branches = Annotated[bool, typer.Option("--branches", help="Score each branch of the models too.")]
ChangeGating = Annotated[
    bool, typer.Option(help="Hold back changes too faint to be weather, as `restore` does.")
]
Dehaze = Annotated[
    bool | None,
    typer.Option("--dehaze/--no-dehaze", help="Take haze off, or leave it, as `restore` does."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="First N pictures of a set.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the weather.")]
TableFormat = Annotated[Format, typer.Option(help="Format of the printed table.")]
Intervals = Annotated[bool, typer.Option(help="Print 95 % bootstrap intervals.")]
Protocols = Annotated[
    str, typer.Option(help="Columns, with commas, such as psnr_rgb8,psnr_y,ssim_rgb.")
]
Costs = Annotated[
    bool, typer.Option("--costs", help="Print parameters, multiply-adds and time, too.")
]
PictureScores = Annotated[
    Path | None, typer.Option(help="Write a CSV file with a line for every picture.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the file of --pictures if it exists.")
]
Downstream = Annotated[
    bool,
    typer.Option("--downstream", help="Instead: how much of the text can be read again."),
]
Detector = Annotated[
    Path | None,
    typer.Option(help="With --downstream: this finds people and vehicles instead of text."),
]
Threads = Annotated[
    int | None, typer.Option(help="Processor threads. Without it one for each core.")
]
EngineName = Annotated[str, typer.Option(help="auto, native, onnx or openvino.")]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or auto.")]


@app.command()
def evaluate(
    models: Models = None,
    data: Datasets = None,
    weather: Weathers = "",
    pred: ResultFolders = None,
    stages: Stages = None,
    recursions: Recursions = None,
    branches: Branches = False,
    change_gating: ChangeGating = True,
    dehaze: Dehaze = None,
    limit: Limit = None,
    seed: Seed = 24,
    format: TableFormat = Format.markdown,
    intervals: Intervals = True,
    protocols: Protocols = "",
    costs: Costs = False,
    downstream: Downstream = False,
    detector: Detector = None,
    pictures: PictureScores = None,
    overwrite: Overwrite = False,
    threads: Threads = None,
    engine: EngineName = "auto",
    precision: Precision = "fp32",
) -> None:
    """Score models on pairs of pictures, beside the degraded pictures themselves.

    With several models, the paired differences to the first one follow.
    """
    need_metrics()
    from cmudrn.evaluation import table
    from cmudrn.evaluation.evaluator import evaluate as score
    from cmudrn.files import atomic_file

    given = {"pictures": pictures, "protocols": protocols, "costs": costs}
    _check_downstream(downstream, detector, given | {"no-intervals": not intervals})
    columns = _columns(protocols)
    if pictures:  # scoring takes long: what cannot be kept is refused before it
        _check_picture_scores(pictures, models or [], overwrite)
    score_downstream = _downstream(downstream, detector, threads)
    sets = open_sets(data or [], weather, seed)
    opened = partial(open_model, threads=threads, engine=engine, precision=precision)
    depth, how = (stages, recursions), (change_gating, dehaze)
    methods = [m for text in models or [] for m in _methods(text, opened, depth, branches, how)]
    methods += _folders(pred or [])
    if score_downstream:
        rows = score_downstream(sets, methods, limit)
        show(*table.FORMATS[format.value](rows).splitlines())
        return
    scores = []
    for name, dataset in sets.items():
        scores += score(name, dataset, methods, limit=limit, on_pair=_teller(name))
    if pictures:  # before the tables, whose reader may be gone
        with atomic_file(pictures) as file:
            file.write(table.to_csv(table.per_picture(scores)).encode())
    _show_scores(scores, methods, columns, format, intervals=intervals, costs=costs)


def _show_scores(
    scores: list[Scores],
    methods: list[Method],
    columns: list[str],
    format: Format,
    *,
    intervals: bool,
    costs: bool,
) -> None:
    """Print the table, the differences of several methods, and what is to be noted."""
    from cmudrn.evaluation import table

    rendered = table.FORMATS[format.value]
    show(*rendered(table.summary(scores, intervals, columns, costs)).splitlines())
    if len(methods) > 1:
        differences = rendered(table.differences(scores, intervals, columns))
        show("", *differences.splitlines())
    for note in dict.fromkeys(method.note for method in methods if method.note):
        show("", note, err=format is not Format.markdown)


def _check_downstream(wanted: bool, detector: Path | None, given: Mapping[str, object]) -> None:
    """Refuse options that would be without effect."""
    others = [name for name, value in given.items() if value]
    if detector and not wanted:
        raise InvalidSettingError("--detector goes with --downstream.", setting="detector")
    if wanted and others:
        sentence = f"--{others[0]} does not go with --downstream, which prints a table of its own."
        raise InvalidSettingError(sentence, setting=others[0])


def _downstream(wanted: bool, detector: Path | None, threads: int | None) -> ScoreDownstream | None:
    """Return what makes the table of people and vehicles, or that of text without a detector."""
    if not wanted:
        return None
    if detector:
        from cmudrn.evaluation.detection import detection_table, evaluate_detection
        from cmudrn.evaluation.object_detector import open_detector

        detect = open_detector(detector, threads)
        return partial(_every_set, partial(evaluate_detection, detect=detect), detection_table)
    from cmudrn.evaluation.downstream import evaluate_text, open_recogniser, text_table

    return partial(_every_set, partial(evaluate_text, read=open_recogniser()), text_table)


def _every_set(
    evaluate_set: Callable[..., list[Any]],
    tabulate: Callable[[list[Any]], list[list[str]]],
    sets: dict[str, Dataset],
    methods: list[Method],
    limit: int | None,
) -> list[list[str]]:
    results = []
    for name, dataset in sets.items():
        results += evaluate_set(name, dataset, methods, limit=limit, on_pair=_teller(name))
    return tabulate(results)


def _check_picture_scores(target: Path, models: list[str], overwrite: bool) -> None:
    from cmudrn.files import check_target

    for model in (Path(split_name(text)[1]) for text in models):
        if model.exists():
            check_target(model, target, overwrite=True)  # a model is never replaced
    check_target(None, target, overwrite)


def need_metrics() -> None:
    """Refuse the command where its packages are missing.

    Raises:
        CmudrnError: they are.
    """
    try:
        import matplotlib  # noqa: F401
        import skimage  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Scoring", "evaluate") from error


def open_sets(data: list[str], weather: str, seed: int) -> dict[str, Dataset]:
    """Return the sets to score on by name; sets of clean pictures once for each weather.

    Raises:
        CmudrnError: there is none, or one is wrong.
    """
    from cmudrn.datasets import has_degraded, open_dataset, parse_description

    if not data:
        raise InvalidSettingError(
            "Say what to score on: --data KIND:PATH, e.g. --data rain100:Rain100L."
        )
    sets: dict[str, Dataset] = {}
    for text in data:
        description = parse_description(text)
        name = Path(description.path.split(",")[-1]).resolve().name
        name += f"@{description.part}" if description.part else ""
        name += f"/{description.held}" if description.held else ""
        kinds: list[str | None] = [None]
        if weather and not has_degraded(text):
            kinds = [kind.strip() for kind in weather.split(",")]
        for kind in kinds:
            title = name if kind is None else f"{name} {kind}"
            if title in sets:
                title = text if kind is None else f"{text} {kind}"
            sets[title] = open_dataset(text, weather=kind, seed=seed)
    return sets


def open_model(
    text: str, threads: int | None, engine: str = "auto", precision: str = "fp32"
) -> Engine:
    """Return a model ready to run; checkpoints are exported first, so that all run alike.

    Args:
        text: a shipped name, an ONNX file, a checkpoint, a run folder (its best checkpoint), or one
            of the DRN authors' `.pth` files.
        threads: processor threads; None is all.
        engine: as for `open_engine`.
        precision: likewise.

    Raises:
        CmudrnError: it is none of them.
    """
    from cmudrn.engines import open_engine

    path = Path(text)
    for name in ("best.safetensors", "last.safetensors"):
        if (path / name).is_file():
            path = path / name
            break
    if path.suffix not in (".safetensors", ".pth"):
        return open_engine(path, engine, threads, precision)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("A checkpoint", "train") from error
    from cmudrn.export.export_checkpoint import open_exported

    opened: Engine = open_exported(path, threads, engine, precision)
    return opened


def split_name(text: str) -> tuple[str, str]:
    """Return (name, what it names) of `NAME=WHAT`; a text without a name is its own."""
    name, equals, what = text.partition("=")
    return (name, what) if equals and name and not Path(text).exists() else (text, text)


def _columns(text: str) -> list[str]:
    from cmudrn.evaluation.metrics import PROTOCOLS

    chosen = [name.strip() for name in text.split(",")] if text else list(PROTOCOLS)
    unknown = [name for name in chosen if name not in PROTOCOLS]
    if unknown:
        raise InvalidSettingError(
            f"There is no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}."
        )
    return chosen


def _methods(
    text: str,
    opened: Callable[[str], Engine],
    depth: tuple[int | None, int | None],
    branches: bool,
    how: tuple[bool, bool | None],
) -> list[Method]:
    """Return a model's method and, if wanted, its branches'; how: change gating, dehazing."""
    from cmudrn.evaluation.methods import (
        branch_methods,
        engine_method,
        is_comparator,
        is_python,
        python_method,
    )

    change_gating, dehaze = how
    name, model = split_name(text)
    if is_comparator(model):
        return [_comparator(model, name)]
    if is_python(model) and not Path(model).exists():
        return [python_method(model, name)]
    engine = opened(model)
    cost, note = None, ""
    if engine.info.network == "other" and "macs_per_pixel" in engine.info.metadata:
        note = f"{name} has no model file: it ran in torch, which is slower than the engines."
    elif engine.info.network == "other":
        from cmudrn.evaluation.foreign_costs import foreign_cost

        cost = foreign_cost(model)
    method = engine_method(
        name, engine, *depth, change_gating=change_gating, dehaze=dehaze, cost=cost, note=note
    )
    return [method, *(branch_methods(name, engine, *depth, dehaze=dehaze) if branches else [])]


def _comparator(text: str, name: str) -> Method:
    """Return another project's network, with the weights in its authors' file, as a method."""
    from cmudrn.evaluation.costs import Cost
    from cmudrn.evaluation.methods import Method

    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CmudrnError(f"{text} needs torch: pip install 'cmudrn[train]'.") from error
    from cmudrn.checkpoints.comparators.comparator import open_comparator

    theirs = open_comparator(text)
    return Method(
        name,
        lambda pair: theirs(pair.degraded),
        Cost(theirs.parameters, theirs.macs),
        note=theirs.note,
    )


def _folders(texts: list[str]) -> list[Method]:
    from cmudrn.evaluation.methods import folder_method

    named = [split_name(text) for text in texts]
    return [folder_method(Path(what), "" if name == what else name) for name, what in named]


def _teller(name: str) -> OnPair | None:
    """Return a function that shows progress on a terminal."""
    if not sys.stderr.isatty():
        return None

    def tell(done: int, count: int) -> None:
        show_count(f"{name}: {done} of {count}", last=done == count)

    return tell
