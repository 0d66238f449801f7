"""Studies: rows of configurations, trained and scored alike. Variants are data (presets/studies).

A study's runs lie in one folder, ROW-seedN each; studies may share it, and a run that two of them
name with one configuration is trained once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.config import PRESETS, Table, merge, read_extended, read_preset
from cmudrn.datasets import Dataset, open_dataset
from cmudrn.datasets.doctor import fingerprint
from cmudrn.errors import CmudrnError, FileError, InvalidSettingError
from cmudrn.training.config import Config, make_config, recorded_config
from cmudrn.training.fingerprints import (
    SCORING,
    TRAINING,
    dataset_files,
    fingerprint_code,
    fingerprint_data,
    is_today,
)
from cmudrn.training.folders import check_folders

STUDIES = PRESETS / "studies"
BUDGETS = PRESETS / "budgets"
MISSING = "missing"
TRAINED_FROM = ("configuration", "data", "code")
"""What a run's weights are made from; the rest decides its scores only."""


class TestConfig(Table):
    """What every row is scored on.

    Attributes:
        data: description of a dataset of clean pictures.
        weathers: laid over them.
        sets: name -> description of a dataset that has degraded pictures of its own.
        pictures: the first so many of each; None is all.
        stages: T to score at; empty is each network's own.
        recursions: S to score at, with every T; empty is each network's own.
        seed: of the weather.
    """

    data: str = ""
    weathers: tuple[str, ...] = ()
    sets: dict[str, str] = Field(default={})
    pictures: int | None = None
    stages: tuple[int, ...] = ()
    recursions: tuple[int, ...] = ()
    seed: int = 24

    @property
    def names(self) -> tuple[str, ...]:
        """What it is scored on, by the names of weathers and sets."""
        return (*self.weathers, *self.sets)

    def open(self, name: str) -> Dataset:
        """Return the pairs of one of `names`.

        Raises:
            CmudrnError: there are no such data.
        """
        if name in self.sets:
            return open_dataset(self.sets[name])
        return open_dataset(self.data, weather=name, seed=self.seed)

    def depths(self) -> list[tuple[int | None, int | None]]:
        """Return every (T, S) to score at."""
        return [(t, s) for t in self.stages or (None,) for s in self.recursions or (None,)]


class RowConfig(Table):
    """One row of the table.

    Attributes:
        title: printed.
        preset: what the row trains; None is the study's.
        settings: laid over preset and budget.
        seeds: None is the study's.
        paper: weather or set -> PSNR in dB and SSIM that the paper prints.
    """

    title: str
    preset: str | None = None
    settings: dict[str, Any] = Field(default={})
    seeds: tuple[int, ...] | None = None
    paper: dict[str, tuple[float, float]] = Field(default={})


class Study(Table):
    """A study as its TOML file says it.

    Attributes:
        title: of its table.
        preset: what its rows train unless they say otherwise.
        budget: name of a file in presets/budgets, laid over every row's preset.
        seeds: a run each.
        test: what the runs are scored on.
        rows: by name; the name is part of the run's folder.
    """

    title: str
    preset: str
    budget: str
    seeds: tuple[int, ...]
    test: TestConfig
    rows: dict[str, RowConfig]


@dataclass(frozen=True)
class Trial:
    """One run of a study: a row with a seed.

    Attributes:
        row: its name.
        seed: of weights and patches.
        config: all that decides what is trained.
        folder: of the run.
        scores: file with its scores in this study.
    """

    row: str
    seed: int
    config: Config
    folder: Path
    scores: Path

    @property
    def checkpoint(self) -> Path:
        """The run's last checkpoint, where there is one."""
        return self.folder / "last.safetensors"


def shipped_studies() -> list[str]:
    """Return the names of the studies in the package, in alphabetical order."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def read_study(name: str) -> Study:
    """Return a shipped study by its name, or one from a .toml file.

    Raises:
        CmudrnError: there is no such study, or its file is wrong.
    """
    try:
        return Study.model_validate(read_extended(name, STUDIES, "study"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidSettingError(
            f"In the study {name}, {where} is wrong: {first['msg']}.", setting=where
        ) from error


def list_trials(
    name: str, study: Study, runs: Path, settings: Mapping[str, Any], rows: Sequence[str] = ()
) -> list[Trial]:
    """Return a study's runs in the order of its rows, first seeds first.

    Args:
        name: of the study.
        study: its file.
        runs: the folder of its runs.
        settings: laid over every row.
        rows: names of the rows to keep; empty keeps all.

    Raises:
        CmudrnError: a row names a preset or setting that does not exist, there is no such row, or
            a network of a fixed depth would be tested at others.
    """
    unknown = [row for row in rows if row not in study.rows]
    if unknown:
        raise InvalidSettingError(
            f"There is no row {unknown[0]!r}; there are {', '.join(study.rows)}.",
            setting="rows",
            value=unknown[0],
        )
    budget = read_extended(study.budget, BUDGETS, "budget")
    trials = []
    for row_name in rows or study.rows:
        row = study.rows[row_name]
        table = read_preset(row.preset or study.preset)
        for change in (budget, row.settings, settings, {"name": row_name}):
            table = merge(table, change)
        for seed in row.seeds or study.seeds:
            config = make_config(merge(table, {"training": {"seed": seed}}))
            if study.test.depths() != [(None, None)] and not config.network.is_adjustable:
                raise InvalidSettingError(
                    f"The network of the row {row_name!r} has a fixed depth; the study's test has "
                    "stages or recursions of its own.",
                    setting="test",
                )
            folder = runs / f"{row_name}-seed{seed}"
            scores = folder / f"scores.{Path(name).stem}.json"
            trials.append(Trial(row_name, seed, config, folder, scores))
    return sorted(trials, key=lambda trial: trial.seed)


def expected(trial: Trial, test: TestConfig) -> dict[str, Any]:
    """Return what a trial's scores must say that they were made from, to be shown.

    Raises:
        CmudrnError: data are missing.
    """
    return {
        "configuration": trial.config.model_dump(mode="json", by_alias=True),
        "data": fingerprint_data(trial.config.data),
        "code": fingerprint_code(),
        "test": test.model_dump(mode="json", exclude_defaults=True),
        "test data": _fingerprint_test(test.model_dump_json()),
        "code that scores": fingerprint_code(SCORING),
    }


def find_missing_data(trials: Sequence[Trial], test: TestConfig) -> str | None:
    """Return the sentence on data that are missing: nothing can be trained or checked without.

    None where all data are there.
    """
    try:
        for trial in trials:
            check_folders(trial.config.data)
            fingerprint_data(trial.config.data)
        _fingerprint_test(test.model_dump_json())
    except CmudrnError as error:
        return str(error)
    return None


def read_cells(trial: Trial, test: TestConfig, *, check: bool = True) -> list[dict[str, Any]] | str:
    """Return a trial's cells, or in a word why they cannot be shown.

    Args:
        trial: of a study.
        test: what it is scored on.
        check: whether cells that are older than configuration, data or code are left out; this
            needs the data.

    Raises:
        CmudrnError: data are missing, or a file of the run is damaged.
    """
    stale = stale_part(trial, test) if check else None
    if stale:
        return f"older than its {stale}"
    if not trial.scores.is_file():
        return MISSING
    return list(_read_scores(trial.scores)["cells"])


def stale_part(trial: Trial, test: TestConfig) -> str | None:
    """Return what has changed since a trial was trained (also in part) or scored.

    Raises:
        CmudrnError: data are missing, or a file of the run is damaged.
    """
    today = expected(trial, test)
    if trial.scores.is_file():
        made_from = _read_scores(trial.scores)["made from"]
    elif trial.checkpoint.is_file():
        run = read_checkpoint(trial.checkpoint)
        made_from = {**today, "configuration": run.config}
        made_from |= {part: run.record.get(part) for part in ("data", "code")}
    else:
        return None
    return next((part for part in today if not _agrees(part, made_from.get(part), today)), None)


def _agrees(part: str, recorded: Any, today: Mapping[str, Any]) -> bool:
    """Return whether a part of what scores were made from is as it is today."""
    roots = {"code": TRAINING, "code that scores": SCORING}
    if part in roots:
        return is_today(recorded, roots[part])
    if part == "configuration" and isinstance(recorded, dict):
        return _comparable(recorded) == _comparable(today[part])
    if part == "test" and isinstance(recorded, dict):
        return _without_folders(recorded) == _without_folders(today[part])
    return bool(recorded == today[part])


def _without_folders(test: Mapping[str, Any]) -> dict[str, Any]:
    """Return what runs are scored on without folders: a fingerprint covers their files."""
    kept = {key: value for key, value in test.items() if key != "data"}
    return kept | ({"sets": sorted(test["sets"])} if "sets" in test else {})


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration with present settings and without folders.

    Settings that did not exist when it was written have their defaults.
    """
    try:
        return recorded_config(config).without_folders().model_dump(mode="json", by_alias=True)
    except CmudrnError:
        return config


def _read_scores(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {"made from": dict(kept["made from"]), "cells": list(kept["cells"])}
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} is damaged; remove it.", path=path) from error


@lru_cache(maxsize=8)
def _fingerprint_test(test: str) -> str:
    read = TestConfig.model_validate_json(test)
    texts = [*read.sets.values(), *([read.data] if read.weathers else [])]
    return fingerprint([pair for text in texts for pair in dataset_files(text)[: read.pictures]])
