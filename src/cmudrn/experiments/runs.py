"""Train and score the runs of a study, several at once, each on one processor thread."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.child_processes import end_with_parent
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.evaluator import evaluate
from cmudrn.evaluation.methods import INPUT, Method, engine_method
from cmudrn.evaluation.metrics import score
from cmudrn.experiments.study import TRAINED_FROM, TestConfig, Trial, expected, stale_part
from cmudrn.export.export_checkpoint import open_exported, write_network
from cmudrn.export.live_engine import TorchEngine
from cmudrn.export.onnx_graph import describe
from cmudrn.files import atomic_file
from cmudrn.networks.registry import macs_per_pixel, make_network
from cmudrn.networks.supervision import make_supervision
from cmudrn.networks.winograd import winograd_convolutions
from cmudrn.restoration import Restorer
from cmudrn.training.config import Config, DataConfig, make_config
from cmudrn.training.data.batches import PatchSource, StepBatches
from cmudrn.training.data.sources import make_sources
from cmudrn.training.folders import check_folders
from cmudrn.training.loop import Progress, choose_arithmetic
from cmudrn.training.run import SCREENS_SEED, start_run

Depth = tuple[int | None, int | None]
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
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
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
        raise CmudrnError(
            f"{len(failures)} of {len(tasks)} runs failed; the first is {failures[0]}"
        )


def forget_stale(trials: Sequence[Trial], test: TestConfig) -> None:
    """Remove the runs that are older than their configuration, data or code.

    Where only the test has changed, the scores go and the run stays.
    """
    for trial in trials:
        stale = stale_part(trial, test)
        if stale in TRAINED_FROM:
            shutil.rmtree(trial.folder)
        elif stale:
            trial.scores.unlink()


def estimate_seconds(trials: Sequence[Trial], test: TestConfig, workers: int) -> float:
    """Return about how long training and scoring will take, from a few steps and one picture.

    Raises:
        CmudrnError: data are missing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    paces: dict[str, float] = {}
    training = macs = 0.0
    for trial in trials:
        config = trial.config
        kind = f"{config.network} {config.data} {config.training.elastic}"
        if kind not in paces:
            paces[kind] = _seconds_of_a_step(config)
        training += paces[kind] * (config.training.steps - _steps_done(trial))
        macs += sum(macs_per_pixel(config.network, *depth) for depth in test.depths())
    fixed, for_a_mac = _seconds_of_scoring(trials[0], test)
    pictures = sum(test.pictures or len(test.open(name)) for name in test.names)
    scoring = pictures * (fixed * len(trials) * len(test.depths()) + for_a_mac * macs)
    torch.set_num_threads(threads)
    return (training + scoring) / workers


def _steps_done(trial: Trial) -> int:
    return read_checkpoint(trial.checkpoint).step if trial.checkpoint.is_file() else 0


def _seconds_of_a_step(config: Config) -> float:
    """Time a forward and a backward pass, and making the patches where no process helps."""
    batches = StepBatches(config, _sources(config.data.model_dump_json()))
    network = make_network(config.network)
    supervision = make_supervision(config.loss)
    bf16, winograd = choose_arithmetic(config.training, torch.device("cpu"))
    elastic = config.training.elastic
    stages, recursions = (
        round(sum(span) / 2) if span else None for span in (elastic.stages, elastic.recursions)
    )
    times = []
    for step in range(4):
        start = time.perf_counter()
        batch = batches[step]
        patches = batch.degraded.contiguous(memory_format=torch.channels_last)
        if config.data.workers:
            start = time.perf_counter()
        with winograd_convolutions(wanted=winograd):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = network(patches, stages, recursions)
            supervision.prepare(patches, step)
            loss = supervision(outputs.in_float32(), batch.clean, batch.belongs).total
            loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return statistics.fmean(times[1:])


def _seconds_of_scoring(trial: Trial, test: TestConfig) -> tuple[float, float]:
    """Return the seconds of a picture's rendering and scores, and those for a MAC of a pixel."""
    config = trial.config
    weights = make_network(config.network).state_dict()
    start = time.perf_counter()
    pair = test.open(test.names[0])[0]
    score(pair.degraded, pair.clean, pair.degraded)
    fixed = time.perf_counter() - start
    if not config.network.has_model_file:
        record = describe(config.network, "untrained")
        restorer = Restorer(TorchEngine(make_network(config.network), config.network, record))
    else:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model.onnx"
            write_network(config.network, weights, model, "untrained", elastic=False)
            restorer = Restorer(open_engine(model, threads=1, precision="fp32"))
    start = time.perf_counter()
    restorer(pair.degraded)
    return fixed, (time.perf_counter() - start) / macs_per_pixel(config.network)


def _finish_one(config: dict[str, Any], trial: Trial, test: TestConfig) -> float:
    start = time.perf_counter()
    torch.set_num_threads(1)
    run = start_run(
        make_config(config),
        trial.folder,
        threads=1,
        sources=_sources(trial.config.data.model_dump_json()),
        report=_be_silent,
    )
    made_from = expected(trial, test)
    for part in ("data", "code"):  # of the moment when the run began, not of now
        made_from[part] = run.record[part]
    about = {
        "made from": made_from,
        "seconds of training": round(run.record["seconds"], 1),
        "sha256 of the checkpoint": hashlib.sha256(run.last.read_bytes()).hexdigest(),
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
        config = DataConfig.model_validate_json(data)
        check_folders(config)
        _kept[data] = make_sources(config, SCREENS_SEED)
    return _kept[data]


def _score(checkpoint: Path, test: TestConfig) -> list[dict[str, Any]]:
    engine = open_exported(checkpoint, threads=1)
    depths = {f"T={t} S={s}": (t, s) for t, s in test.depths()}
    methods = [engine_method(name, engine, *depth) for name, depth in depths.items()]
    return [cell for name in test.names for cell in _cells(methods, depths, test, name)]


def _cells(
    methods: Sequence[Method], depths: Mapping[str, Depth], test: TestConfig, weather: str
) -> list[dict[str, Any]]:
    rows = evaluate(weather, test.open(weather), methods, limit=test.pictures)
    cells = []
    for method in (INPUT, *depths):
        mine = [row for row in rows if row.method == method]
        means = {name: statistics.fmean(r.values[name] for r in mine) for name in mine[0].values}
        stages, recursions = depths.get(method, (None, None))
        cells.append(
            {
                "weather": weather,
                "method": INPUT if method == INPUT else "model",
                "stages": stages,
                "recursions": recursions,
                "pictures": len(mine),
                "psnr_rgb of each": [round(r.values["psnr_rgb"], 4) for r in mine],
                "seconds": round(statistics.median(r.seconds for r in mine), 4),
                **{name: round(mean, 4) for name, mean in means.items() if math.isfinite(mean)},
            }
        )
    return cells


def _be_silent(progress: Progress) -> None:
    """Tell nothing; several trials at once would write over each other."""
