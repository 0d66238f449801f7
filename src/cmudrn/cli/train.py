"""`cmudrn train` and `cmudrn export`: from a preset to a model file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.plain import Plain, PlainSettings, Recursions, Size, Stages, export_plain_file
from cmudrn.cli.terminal import show
from cmudrn.errors import InvalidSettingError, MissingExtraError

DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of the data sets that presets name; by default $CMUDRN_DATA.",
    ),
]


@app.command()
def train(
    preset: Annotated[str, typer.Argument(help="A shipped preset's name, or a .toml file.")],
    # Not --run: torchrun would take that for one of its own options.
    into: Annotated[Path, typer.Option(help="Folder of the run; an unfinished run is resumed.")],
    data: DataFolder = None,
    settings: Annotated[
        list[str], typer.Option("--set", help="Lay KEY=VALUE over the preset; repeatable.")
    ] = [],  # noqa: B006
    threads: Annotated[int, typer.Option(help="Processor threads; 0 is all.")] = 0,
    until: Annotated[int, typer.Option(help="Stop after this step, to resume later.")] = 0,
    init_from: Annotated[
        Path | None,
        typer.Option(help="A checkpoint, or a run's folder: its last weights begin a new run."),
    ] = None,
) -> None:
    """Train a network. Stop it at any time; the same command resumes the run."""
    need_torch()
    from cmudrn.training.config import load_config
    from cmudrn.training.memory import keep_memory
    from cmudrn.training.run import start_run

    keep_memory()
    set_data_folder(data)
    with options_for_settings():
        run = start_run(
            load_config(preset, settings),
            into,
            threads=threads,
            until=until or None,
            init_from=init_from and _checkpoint(init_from),
        )
    if run.processes.first:
        show(f"{into}: {run.step} steps; fingerprint of the data {run.record['data']}")


@app.command()
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A checkpoint of `cmudrn train`, or a run's folder: its last one."),
    ],
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    name: Annotated[str, typer.Option(help="The model's name; by default the preset's.")] = "",
    interpolate_with: Annotated[
        Path | None,
        typer.Option(help="A later run's checkpoint: the weights are interpolated between both."),
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of that checkpoint, 0 to 1.")] = None,
    veil_estimator: Annotated[
        Path | None,
        typer.Option(help="A veil estimator's checkpoint, for a network trained without one."),
    ] = None,
    change_gating_db: Annotated[
        float | None,
        typer.Option(help="Have changes held back that are fainter than this PSNR, in dB."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model file that exists.")
    ] = False,
    plain: Plain = False,
    stages: Stages = None,
    recursions: Recursions = None,
    size: Size = "",
) -> None:
    """Write a checkpoint's averaged weights as a model file and compare it with torch."""
    write = _checkpoint_writer(
        name, interpolate_with, weight, veil_estimator=veil_estimator, gate=change_gating_db
    )
    if not plain:
        difference = write(checkpoint, output, overwrite)
        show(f"{output}: differs from torch by at most {difference:.1e}")
        return
    settings = PlainSettings(stages, recursions, size, overwrite)
    if not _is_checkpoint(checkpoint):
        export_plain_file(checkpoint, output, settings)
        return
    with tempfile.TemporaryDirectory(prefix="cmudrn-") as folder:
        model = Path(folder) / "model.onnx"
        write(checkpoint, model, False)
        export_plain_file(model, output, settings)


def _checkpoint_writer(
    name: str,
    interpolate_with: Path | None,
    weight: float | None,
    *,
    veil_estimator: Path | None,
    gate: float | None,
) -> Callable[[Path, Path, bool], float]:
    """Return what writes (a checkpoint, as a model file, overwriting or not)."""
    if (interpolate_with is None) != (weight is None):
        raise InvalidSettingError(
            "--interpolate-with and --weight are given together or not at all."
        )

    def write(checkpoint: Path, output: Path, overwrite: bool) -> float:
        need_torch()
        from cmudrn.export.export_checkpoint import export_checkpoint

        return export_checkpoint(
            _checkpoint(checkpoint),
            output,
            name or None,
            interpolate_with=interpolate_with and _checkpoint(interpolate_with),
            weight=weight or 0.0,
            veil_estimator=veil_estimator and _checkpoint(veil_estimator),
            change_gating_db=gate,
            overwrite=overwrite,
        )

    return write


def _is_checkpoint(path: Path) -> bool:
    """Return whether a path is a checkpoint, not a model file or a shipped model's name."""
    return path.suffix == ".safetensors" or (path / "last.safetensors").is_file()


def _checkpoint(path: Path) -> Path:
    """Return a checkpoint, or a run folder's last one."""
    return path / "last.safetensors" if path.is_dir() else path


def set_data_folder(folder: Path | None) -> None:
    """Name the folder of the data sets, also for the processes that this one starts."""
    from cmudrn.datasets.folders import DATA_VARIABLE

    if folder is not None:
        os.environ[DATA_VARIABLE] = str(folder)


@contextmanager
def options_for_settings() -> Iterator[None]:
    """Add the option that sets a wrong folder to the library's sentence."""
    try:
        yield
    except InvalidSettingError as error:
        option = {
            "CMUDRN_DATA": "--data FOLDER names it",
            "data.clean": "--set data.clean=FOLDER names yours",
            "data.validation": "--set data.validation=FOLDER names yours",
        }.get(error.setting)
        if option is None:
            raise
        sentence = f"{str(error).removesuffix('.')}; {option}."
        raise InvalidSettingError(sentence, setting=error.setting, value=error.value) from error


def need_torch() -> None:
    """Refuse the command where torch is missing.

    Raises:
        MissingExtraError: it is.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Training", "train") from error
