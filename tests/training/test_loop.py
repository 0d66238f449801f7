"""Training learns, resumes bit for bit, and survives kill -9."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.config import merge
from cmudrn.engines.native.library import instruction_sets
from cmudrn.errors import CmudrnError
from cmudrn.networks import winograd
from cmudrn.networks.losses import Supervision
from cmudrn.training.config import Config, make_config, recorded_config
from cmudrn.training.data.batches import StepBatches, draw_depth, draw_sources
from cmudrn.training.distributed import join_process_group
from cmudrn.training.loop import OPTIMISERS, Run, learning_rate

TINY = {
    "name": "tiny",
    "network": {"features": 4, "stages": 2, "recursions": 1},
    "loss": {
        "local": {"reduction": "mean"},
        "recurrence": {"reduction": "mean"},
        "global": {"reduction": "mean"},
    },
    "data": {
        "patch": 16,
        "batch": 4,
        "workers": 0,
        "sources": {
            "rain": {"weather": "bright", "task": "rain", "weight": 1},
            "snow": {"weather": "bright", "task": "snow", "weight": 1},
            "clear": {"weather": "clear", "task": "all", "weight": 0.5},
        },
    },
    "training": {
        "steps": 24,
        "warmup": 4,
        "validate_every": 4,
        "precision": "fp32",
        "elastic": {"stages": [1, 2]},
    },
}


def config(**change: object) -> Config:
    return make_config(merge(TINY, change))


class Brightened:
    """A stand-in weather: the clean patch plus a constant."""

    def __call__(self, size: int, rng: np.random.Generator, /) -> tuple[np.ndarray, np.ndarray]:
        clean = 0.8 * rng.random((size, size, 3), dtype=np.float32)
        return clean + np.float32(0.2), clean


class Poisoned(Brightened):
    """Patches that are not a number."""

    def __call__(self, size: int, rng: np.random.Generator, /) -> tuple[np.ndarray, np.ndarray]:
        degraded, clean = super().__call__(size, rng)
        return degraded * np.float32(np.nan), clean


def make_run(folder: Path, settings: Config, source: type[Brightened] = Brightened) -> Run:
    torch.set_num_threads(1)
    sources = dict.fromkeys(settings.data.sources, source())
    return Run(settings, folder, sources, join_process_group())


def weights(run: Run) -> dict[str, bytes]:
    tensors = {**run.network.state_dict(), **{f"ema.{k}": v for k, v in run.average.items()}}
    return {k: v.contiguous().numpy().tobytes() for k, v in tensors.items()}


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    run = make_run(tmp_path, config(training={"steps": 60, "learning_rate": 0.01}))
    run.train()
    assert losses(tmp_path)[-1] < 0.7 * losses(tmp_path)[0]


@pytest.mark.skipif(not instruction_sets(), reason="the native engine was not built")
def test_where_nothing_says_otherwise_the_engine_convolves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmudrn.training.loop.computes_bf16", lambda _device: False)
    wide = {"network": {"features": 8}, "training": {"steps": 3, "validate_every": 1}}
    calls: list[str] = []
    call = winograd._call

    def watched(function: str, *rest: Any) -> None:
        calls.append(function)
        call(function, *rest)

    monkeypatch.setattr(winograd, "_call", watched)
    found = {}
    for precision in ("auto", "fp32"):
        calls.clear()
        settings = config(**merge(wide, {"training": {"precision": precision}}))
        make_run(tmp_path / precision, settings).train()
        assert bool(calls) == (precision == "auto")
        found[precision] = losses(tmp_path / precision)
    assert found["auto"] == pytest.approx(found["fp32"], rel=1e-4)


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_a_run_stopped_and_continued_ends_with_the_same_bytes(
    tmp_path: Path, optimiser: str
) -> None:
    settings = config(training={"optimiser": optimiser})
    whole = make_run(tmp_path / "whole", settings)
    whole.train()
    make_run(tmp_path / "parts", settings).train(until=10)
    rest = make_run(tmp_path / "parts", settings)
    assert rest.step == 10
    rest.train()
    assert weights(rest) == weights(whole)
    assert [
        json.loads(line)["step"]
        for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    ][-1] == 24


def _train_slowly(folder: Path, settings: Config) -> None:
    class Slow(Brightened):
        def __call__(self, size: int, rng: np.random.Generator, /) -> tuple[np.ndarray, np.ndarray]:
            time.sleep(0.01)
            return super().__call__(size, rng)

    make_run(folder, settings, Slow).train()


@pytest.mark.parametrize("lines", [1, 3])
def test_a_run_killed_by_force_ends_with_the_same_bytes(tmp_path: Path, lines: int) -> None:
    settings = config()
    whole = make_run(tmp_path / "whole", settings)
    whole.train()
    folder = tmp_path / "killed"
    child = multiprocessing.get_context("spawn").Process(
        target=_train_slowly, args=(folder, settings)
    )
    child.start()
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() or metrics.read_text().count("\n") < lines:
        assert child.is_alive()
        time.sleep(0.005)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    rest = make_run(folder, settings)
    assert 0 <= rest.step < 24
    rest.train()
    assert weights(rest) == weights(whole)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 24


def test_a_folder_of_another_configuration_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, config()).train(until=4)
    with pytest.raises(CmudrnError, match="another configuration"):
        make_run(tmp_path, config(training={"seed": 1}))


def test_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match="not a number"):
        make_run(tmp_path, config(), Poisoned).train()
    (path,) = tmp_path.glob("not-a-number-0-*.safetensors")
    with safe_open(path, "pt") as kept:
        assert kept.get_tensor("degraded").isnan().all()
        assert kept.get_tensor("clean").shape == (4, 3, 16, 16)
        assert set(kept.metadata()) == {"stages", "recursions"}


def test_a_checkpoint_says_all_about_itself(tmp_path: Path) -> None:
    make_run(tmp_path, config()).train(until=8)
    checkpoint = read_checkpoint(tmp_path / "last.safetensors")
    assert checkpoint.step == 8 and recorded_config(checkpoint.config) == config()
    assert json.loads((tmp_path / "config.json").read_text())["network"]["features"] == 4


def test_a_damaged_checkpoint_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(CmudrnError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "last.safetensors")


def test_validation_sees_the_averaged_weights_and_leaves_the_run_alone(tmp_path: Path) -> None:
    seen = []

    def validate(network: torch.nn.Module) -> dict[str, float]:
        seen.append(next(network.parameters()).detach().clone())
        return {"set": 20.0}

    run = make_run(tmp_path, config(training={"ema": 0.9}))
    run.train(validate)
    plain = make_run(tmp_path / "plain", config(training={"ema": 0.9}))
    plain.train()
    assert weights(run) == weights(plain)
    assert torch.equal(seen[-1], next(iter(run.average.values())))
    assert not torch.equal(seen[-1], next(run.network.parameters()))


def test_the_same_step_gives_the_same_batch_anywhere() -> None:
    sources = dict.fromkeys(config().data.sources, Brightened())
    first, again = (StepBatches(config(), sources)[7] for _ in range(2))
    assert torch.equal(first.degraded, again.degraded)
    halves = [StepBatches(config(), sources, rank, 2)[7] for rank in (0, 1)]
    joined = torch.stack([half.clean for half in halves], 1).flatten(0, 1)
    assert torch.equal(joined, first.clean)
    assert torch.equal(halves[0].whole, first.belongs)


def test_a_batch_that_is_too_small_for_its_processes_is_refused() -> None:
    with pytest.raises(CmudrnError, match="A batch of 4 cannot be shared by 5 processes"):
        StepBatches(config(), {}, 0, 5)


def test_alternate_passes_hold_one_task_each() -> None:
    settings = config(data={"passes": "alternate"})
    for step in range(6):
        tasks = {settings.data.sources[name].task for name in draw_sources(settings, step)}
        assert tasks <= {("rain", "snow")[step % 2], "all"}


def test_depths_are_drawn_from_their_ranges() -> None:
    settings = config()
    network, elastic = settings.network, settings.training.elastic
    drawn = {draw_depth(network, elastic, 0, step) for step in range(50)}
    assert drawn == {(1, 1), (2, 1)}


def test_schedules() -> None:
    training = config().training
    assert learning_rate(training, 0) == pytest.approx(1e-3 / 4)
    assert learning_rate(training, 4) == pytest.approx(1e-3)
    assert learning_rate(training, 24) == pytest.approx(1e-5)
    linear = config(training={"schedule": "linear"}).training
    assert learning_rate(linear, 14) == pytest.approx(0.505e-3)
    halve = config(training={"schedule": "halve"}).training
    assert learning_rate(halve, 15) == pytest.approx(2.5e-4)


def test_losses_of_the_run_are_the_supervisions(tmp_path: Path) -> None:
    run = make_run(tmp_path, config(training={"validate_every": 1}))
    batch = StepBatches(run.config, run.sources)[0]
    expected = Supervision(run.config.loss)(
        run.network(batch.degraded, batch.stages, batch.recursions), batch.clean, batch.belongs
    )
    run.train(until=1)
    assert losses(tmp_path)[0] == pytest.approx(float(expected.total.detach()), rel=1e-4)
