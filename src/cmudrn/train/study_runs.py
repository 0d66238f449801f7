"""Train and score the runs of a study, several at once, each on one processor thread."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from cmudrn.config import Config, DataConfig, NetworkConfig, make_config
from cmudrn.datasets import open_dataset
from cmudrn.engines import Engine, open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluate.evaluator import evaluate
from cmudrn.evaluate.methods import INPUT, engine_method
from cmudrn.image import atomic_file
from cmudrn.nn.losses import Supervision
from cmudrn.nn.networks import make_network
from cmudrn.train.batches import PatchSource
from cmudrn.train.loop import Progress
from cmudrn.train.ship import export_checkpoint
from cmudrn.train.sources import make_sources
from cmudrn.train.start import SCREENS_SEED, start_run
from cmudrn.train.study import TestConfig, Trial, expected, read_cells

Tell = Callable[[str], None]


def finish(trials: Sequence[Trial], test: TestConfig, workers: int, tell: Tell) -> None:
    """Train and score the trials that have no scores yet.

    A trial that was under way goes on from its checkpoint. One trial's failure does not stop the
    others; it is raised at the end.

    Args:
        trials: of a study.
        test: what they are scored on.
        workers: trials at once, each in its own process with one thread.
        tell: given a line when a trial is done.

    Raises:
        CmudrnError: a trial failed; the sentence says why.
    """
    tasks = [(t.config.model_dump(mode="json", by_alias=True), t, test) for t in trials]
    failures = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(_finish_one, *task): task[1] for task in tasks}
        for number, future in enumerate(as_completed(waiting), 1):
            trial = waiting[future]
            try:
                took = future.result()
            except CmudrnError as error:
                failures.append(f"{trial.folder.name}: {error}")
                tell(failures[-1])
                continue
            tell(f"{number} of {len(tasks)}: {trial.folder.name} in {took:.0f} s")
    if failures:
        raise CmudrnError(f"{len(failures)} of {len(tasks)} runs failed; first {failures[0]}")


def forget_stale(trials: Sequence[Trial], test: TestConfig) -> None:
    """Remove the folders of runs that are older than their configuration, data or code."""
    for trial in trials:
        if str(read_cells(trial, test)).startswith("older"):
            shutil.rmtree(trial.folder)


def estimate_seconds(trials: Sequence[Trial], workers: int) -> float:
    """Return about how long training will take; scoring comes on top.

    Two steps on noise are timed for each kind of network among the trials.
    """
    paces: dict[str, float] = {}
    total = 0.0
    for trial in trials:
        config = trial.config
        kind = f"{config.network} {config.data.patch} {config.data.batch} {config.training.elastic}"
        if kind not in paces:
            paces[kind] = _seconds_of_a_step(config)
        total += paces[kind] * config.training.steps
    return total / workers


def _seconds_of_a_step(config: Config) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = make_network(config.network)
    supervision = Supervision(config.loss)
    side, batch = config.data.patch, config.data.batch
    patches = torch.rand(batch, 3, side, side)
    belongs = torch.ones(len(_branches(config.network)), batch, dtype=torch.bool)
    elastic = config.training.elastic
    stages, recursions = (
        round(sum(span) / 2) if span else None for span in (elastic.stages, elastic.recursions)
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.training.precision != "fp32"):
            outputs = network(patches, stages, recursions)
        branches = tuple(tuple(x.float() for x in branch) for branch in outputs.branches)
        outputs = type(outputs)(branches, outputs.fused.float())
        loss = supervision(outputs, patches, belongs, belongs).total
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return min(times)


def _branches(network: NetworkConfig) -> Sequence[str]:
    return network.tasks[:1] if network.kind == "drn" else network.tasks


def _finish_one(config: dict[str, Any], trial: Trial, test: TestConfig) -> float:
    start = time.perf_counter()
    torch.set_num_threads(1)
    run = start_run(
        make_config(config),
        trial.folder,
        threads=1,
        sources=_sources(json.dumps(config["data"], sort_keys=True)),
        report=_be_silent,
    )
    made_from = expected(trial, test)
    for part in ("data", "code"):  # of the moment when the run began, not of now
        made_from[part] = run.record[part]
    about = {
        "made from": made_from,
        "seconds of training": round(run.record["seconds"], 1),
        "weights sha256": hashlib.sha256(run.last.read_bytes()).hexdigest(),
        "cells": _score(run.last, test),
    }
    with atomic_file(trial.scores) as file:
        file.write((json.dumps(about, indent=1, sort_keys=True) + "\n").encode())
    return time.perf_counter() - start


_kept: dict[str, dict[str, PatchSource]] = {}


def _sources(data: str) -> dict[str, PatchSource]:
    """Return the patches of a configuration; the last ones are kept for the next trial."""
    if data not in _kept:
        _kept.clear()
        _kept[data] = make_sources(DataConfig.model_validate_json(data), SCREENS_SEED)
    return _kept[data]


def _score(checkpoint: Path, test: TestConfig) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_checkpoint(checkpoint, model)
        engine = open_engine(model, threads=1, precision="fp32")
        return [
            cell
            for weather in test.weathers
            for number, depth in enumerate(test.depths())
            for cell in _cells(engine, test, weather, depth, with_input=number == 0)
        ]


def _cells(
    engine: Engine,
    test: TestConfig,
    weather: str,
    depth: tuple[int | None, int | None],
    with_input: bool,
) -> list[dict[str, Any]]:
    dataset = open_dataset(test.data, weather=weather, seed=test.seed)
    rows = evaluate(weather, dataset, [engine_method("model", engine, *depth)], limit=test.pictures)
    cells = []
    for method in (INPUT, "model") if with_input else ("model",):
        mine = [row for row in rows if row.method == method]
        means = {name: statistics.fmean(r.values[name] for r in mine) for name in mine[0].values}
        cells.append(
            {
                "weather": weather,
                "method": method,
                "stages": depth[0],
                "recursions": depth[1],
                "pictures": len(mine),
                "seconds": round(statistics.median(r.seconds for r in mine), 4),
                **{name: round(value, 4) for name, value in means.items()},
            }
        )
    return cells


def _be_silent(progress: Progress) -> None:
    """Tell nothing; several trials at once would write over each other."""
