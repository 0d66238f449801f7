"""`cmudrn study`: an experiment of the paper by one command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.evaluate import Format, need_metrics
from cmudrn.cli.terminal import show
from cmudrn.cli.train import DataFolder, need_torch, options_for_settings, set_data_folder
from cmudrn.errors import CmudrnError, InvalidSettingError

if TYPE_CHECKING:
    from cmudrn.experiments.study import Study, TestConfig, Trial


STORED = Path("docs/runs/studies")
"""Where a checkout keeps the runs of its studies."""
AS_STORED = "Each table is as stored; whether it is up to date was not checked"

Every = Annotated[
    bool, typer.Option("--all", help="Every study, of docs/runs/studies unless --run says.")
]
Again = Annotated[
    bool, typer.Option("--again", help="Remove runs older than their configuration, data or code.")
]


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="ablation, baselines, claims, claims-city, unveiled, alpha, loops, comparators, "
            "haze, networks, or a .toml file."
        ),
    ] = "",
    run: Annotated[
        Path | None,
        typer.Option(help="Folder of the runs; studies may share one. Needed unless --all."),
    ] = None,
    every: Every = False,
    data: DataFolder = None,
    settings: Annotated[
        list[str], typer.Option("--set", help="Lay KEY=VALUE over every row; repeatable.")
    ] = [],  # noqa: B006
    budget: Annotated[str, typer.Option(help="two-cores, full, or a .toml file.")] = "",
    test: Annotated[
        list[str],
        typer.Option(metavar="NAME=DATASET", help="Score on these pairs instead; repeatable."),
    ] = [],  # noqa: B006
    row: Annotated[list[str], typer.Option(help="Only this row; repeatable.")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, help="Runs at once, one thread each.")] = 1,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Train nothing; print the table.")
    ] = False,
    again: Again = False,
    table_format: Annotated[
        Format, typer.Option("--format", help="Format of the printed table.")
    ] = Format.markdown,
    into: Annotated[
        Path | None, typer.Option(help="Put the table between the study's markers in this page.")
    ] = None,
) -> None:
    """Train and score every row of a study that is not done yet, and print its table."""
    need_torch()
    need_metrics()
    from cmudrn.config import parse_settings
    from cmudrn.experiments import study as studies

    if bool(name) == every or (run is None and not every):
        raise typer.BadParameter("Give the name of one study and the folder --run, or --all.")
    set_data_folder(data)
    unchecked = None
    for one in studies.shipped_studies() if every else [name]:
        read = _read(one, budget, test)
        trials = studies.list_trials(one, read, run or STORED, parse_settings(settings), row)
        if every and table_only and not any(trial.folder.exists() for trial in trials):
            show(f"The study {one} was not run: {run or STORED} has no run of it.", err=True)
            continue
        missing = studies.find_missing_data(trials, read.test) if table_only else None
        if missing is None:
            with options_for_settings():
                _bring_up_to_date(trials, read.test, workers, again=again, train=not table_only)
        _print_table(one, read, trials, table_format.value, into, missing)
        unchecked = unchecked or missing
    if unchecked:
        show(f"{AS_STORED}: {unchecked}", err=True)


def _print_table(
    name: str,
    read: Study,
    trials: Sequence[Trial],
    table_format: str,
    into: Path | None,
    missing: str | None,
) -> None:
    """Print a study's table, and put it into a page if one is given."""
    from cmudrn.evaluation import table
    from cmudrn.experiments.table import describe, insert, make_table

    text = table.FORMATS[table_format](make_table(read, trials, check=missing is None))
    if table_format == Format.markdown.value:
        text = f"{describe(read, trials)}\n\n{text}"
    if into is not None and missing is not None:
        raise CmudrnError(f"A page shows checked cells only: {missing}")
    if into is not None:
        insert(text, into, Path(name).stem)
    show(*text.splitlines())


def _read(name: str, budget: str, test: list[str]) -> Study:
    """Return a study with another budget or other test sets."""
    from cmudrn.experiments.study import read_study

    read = read_study(name)
    if budget:
        read = read.model_copy(update={"budget": budget})
    if test:
        sets = dict(map(_set, test))
        changed = {"sets": sets, "weathers": (), "data": "", "pictures": None}
        read = read.model_copy(update={"test": read.test.model_copy(update=changed)})
    return read


def _bring_up_to_date(
    trials: Sequence[Trial], test: TestConfig, workers: int, *, again: bool, train: bool
) -> None:
    """Remove stale runs where that is asked for, and train and score what is missing."""
    from cmudrn.experiments import study as studies
    from cmudrn.experiments.runs import estimate_seconds, finish, forget_stale

    if again:
        forget_stale(trials, test)
    states = [studies.read_cells(trial, test) for trial in trials]
    left = [t for t, state in zip(trials, states, strict=True) if state == studies.MISSING]
    stale = sum(str(state).startswith("older") for state in states)
    if stale:
        show(f"{stale} of {len(trials)} runs are stale; --again makes them anew.", err=True)
    if left and train:
        minutes = estimate_seconds(left, test, workers) / 60
        show(f"{len(left)} of {len(trials)} runs to do: about {minutes:.0f} min.", err=True)
        finish(left, test, workers, lambda line: show(line, err=True))


def _set(text: str) -> tuple[str, str]:
    name, equals, dataset = text.partition("=")
    if not (name and equals and dataset):
        raise InvalidSettingError(f"A test is written NAME=KIND:PATH, not {text!r}.")
    return name, dataset
