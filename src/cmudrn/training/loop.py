"""The training loop: one plain loop, read top to bottom."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cmudrn.checkpoints.checkpoint import (
    Checkpoint,
    optimiser_state,
    read_checkpoint,
    restore_optimiser,
    save_checkpoint,
)
from cmudrn.config import config_json
from cmudrn.errors import FileError, TargetError
from cmudrn.files import atomic_file
from cmudrn.networks.registry import make_network
from cmudrn.networks.supervision import make_supervision
from cmudrn.networks.winograd import winograd_convolutions
from cmudrn.training.config import Config, TrainingConfig, recorded_config
from cmudrn.training.data.batches import PatchSource, StepBatch, StepBatches, load_steps
from cmudrn.training.distributed import ProcessGroup
from cmudrn.training.ema import averaged_weights, update_ema
from cmudrn.training.recorded_step import RecordedStep, can_record
from cmudrn.training.soap import SOAP

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "soap": SOAP,
}

Validate = Callable[[nn.Module], dict[str, float]]
"""Network -> {"set": mean PSNR in dB}."""


@dataclass(frozen=True)
class Progress:
    """What the loop reports about every ten seconds.

    Attributes:
        step: steps done.
        steps: steps in all.
        loss: mean over the last 100 steps at most, in the unit of the preset's loss function.
        steps_per_second: since the last report.
        seconds_left: at that pace.
    """

    step: int
    steps: int
    loss: float
    steps_per_second: float
    seconds_left: float


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then the schedule."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "halve":
        return config.learning_rate * 0.5 ** sum(done >= mark for mark in (0.3, 0.5, 0.8))
    if config.schedule == "linear":
        return config.learning_rate * (config.final_rate + (1 - config.final_rate) * (1 - done))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * cosine)


def computes_bf16(device: torch.device) -> bool:
    """Return whether bf16 is faster than fp32 here; on other processors it is emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 (nothing public says it)


def choose_arithmetic(config: TrainingConfig, device: torch.device) -> tuple[bool, bool]:
    """Return whether to compute in bf16, and whether to convolve by Winograd's transforms."""
    auto = config.precision == "auto"
    bf16 = config.precision == "bf16" or (auto and computes_bf16(device))
    return bf16, auto and not bf16 and device.type == "cpu"


class Run:
    """One training run in one folder: config.json, metrics.jsonl, last and best checkpoint.

    Args:
        config: everything that decides the result.
        folder: the run's folder; holds a checkpoint when the run goes on.
        sources: name -> patches, for each of `config.data.sources`.
        processes: this process's place among its peers.
        record: provenance to keep in checkpoints.

    Raises:
        TargetError: the folder holds a run with another configuration.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        sources: Mapping[str, PatchSource],
        processes: ProcessGroup,
        record: dict[str, Any] | None = None,
    ) -> None:
        self.config, self.folder, self.sources, self.processes = config, folder, sources, processes
        torch.manual_seed(config.training.seed)
        network = make_network(
            config.network, checkpoint_stages=config.training.checkpoint_stages
        ).to(processes.device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimiser = OPTIMISERS[config.training.optimiser](self.network.parameters())
        self.supervision = make_supervision(config.loss)
        self.step, self.record = 0, {"seconds": 0.0, "validation": {}, **(record or {})}
        self.bf16, self.winograd = choose_arithmetic(config.training, processes.device)
        self.records = (
            processes.device.type == "cuda"
            and processes.count == 1
            and can_record(config, self.supervision)
        )
        self.recorded: RecordedStep | None = None
        self.last, self.best = folder / "last.safetensors", folder / "best.safetensors"
        if self.last.exists():
            self._resume(read_checkpoint(self.last))
        elif processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(folder / "config.json") as file:
                file.write(f"{config_json(config)}\n".encode())
        self._forget_lines_after(self.step)
        self.model = processes.wrap(self.network)

    def train(
        self,
        validate: Validate | None = None,
        report: Callable[[Progress], None] = lambda _progress: None,
        until: int | None = None,
    ) -> None:
        """Take the remaining steps.

        Args:
            validate: scores the exponential moving average of the weights.
            report: called about every ten seconds.
            until: stop (with a checkpoint) after this step instead of the last.

        Raises:
            FileError: the loss is not a number; the batch is kept beside the checkpoint.
        """
        steps = min(self.config.training.steps, until or self.config.training.steps)
        batches = StepBatches(self.config, self.sources, self.processes.rank, self.processes.count)
        loader = iter(load_steps(batches, self.step, self.config.data.workers))
        losses: list[float] = []
        mark = began = time.monotonic()
        marked = self.step
        while self.step < steps:
            losses.append(self._take_step(next(loader)))
            self.step += 1
            now = time.monotonic()
            if now - mark > 10 or self.step == steps:
                pace = (self.step - marked) / (now - mark)
                left = (steps - self.step) / pace
                report(
                    Progress(self.step, steps, sum(losses[-100:]) / len(losses[-100:]), pace, left)
                )
                mark, marked = now, self.step
            if self.step % self.config.training.validate_every == 0 or self.step == steps:
                self.record["seconds"] += time.monotonic() - began
                self._validate_and_checkpoint(sum(losses) / len(losses), validate)
                losses, began = [], time.monotonic()

    def _take_step(self, batch: StepBatch) -> float:
        rate = learning_rate(self.config.training, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with winograd_convolutions(wanted=self.winograd):
            loss, norm = self._record(batch) if self.records else self._find_gradients(batch)
        value = self.processes.sum(loss)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            self._give_up(batch)
        self.optimiser.step()
        weights, decay = self.network.state_dict(), self.config.training.ema
        update_ema(self.average, weights, decay, self.step)
        return value

    def _find_gradients(self, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Return the loss and the norm of its gradients, which are clipped."""
        device = self.processes.device
        degraded = batch.degraded.to(device).contiguous(memory_format=torch.channels_last)
        clean = batch.clean.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.model(degraded, batch.stages, batch.recursions)
        self.supervision.prepare(degraded, self.step)
        with torch.autocast(device.type, enabled=False):
            loss = self.supervision(
                outputs.in_float32(), clean, batch.belongs.to(device), batch.whole.to(device)
            )
        # DDP averages gradients over processes; the loss parts are to be summed.
        self.optimiser.zero_grad(set_to_none=True)
        (loss.total * self.processes.count).backward()  # type: ignore[no-untyped-call]
        clip = self.config.training.clip or math.inf
        return loss.total.detach(), nn.utils.clip_grad_norm_(self.network.parameters(), clip)

    def _record(self, batch: StepBatch) -> tuple[Tensor, Tensor]:
        """Return the same from the recorded step; the first call records it."""
        if self.recorded is None:
            self.recorded = RecordedStep(
                self.network, self.supervision, self.config, batch, bf16=self.bf16
            )
            if isinstance(self.optimiser, SOAP):  # gradients stay where they are from now on
                self.optimiser.record()
        return self.recorded(batch, self.step)

    def _validate_and_checkpoint(self, loss: float, validate: Validate | None) -> None:
        """Validate, write a line of metrics, and keep checkpoints."""
        if not self.processes.first:
            return
        scores: dict[str, float] = {}
        if validate is not None:
            with averaged_weights(self.network, self.average) as network:
                scores = validate(network)
        line = {
            "step": self.step,
            "loss": round(loss, 6),
            "learning_rate": learning_rate(self.config.training, self.step - 1),
            "seconds": round(self.record["seconds"], 1),
            "psnr": {name: round(score, 3) for name, score in scores.items()},
        }
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        best = self.record.get("best", {}).get("mean", -math.inf)
        mean = sum(scores.values()) / len(scores) if scores else -math.inf
        if scores:
            self.record["validation"] = line["psnr"]
        if mean > best:
            self.record["best"] = {"step": self.step, "mean": round(mean, 3)}
            save_checkpoint(self._checkpoint(), self.best)
        save_checkpoint(self._checkpoint(), self.last)

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.config.model_dump(mode="json", by_alias=True),
            self.step,
            self.network.state_dict(),
            self.average,
            optimiser_state(self.optimiser, self.network),
            self.record,
        )

    def init_from(self, weights: dict[str, Tensor], trained: str) -> None:
        """Start from another run's weights, which were trained for so many steps."""
        self.network.load_state_dict(weights)
        device = self.processes.device
        self.average = {k: v.detach().clone().to(device) for k, v in weights.items()}
        self.record["began_with_steps"] = trained

    def _resume(self, checkpoint: Checkpoint) -> None:
        # Folders may have moved; the fingerprint of the data tells whether the files are the same.
        recorded = recorded_config(checkpoint.config).without_folders()
        if recorded != self.config.without_folders():
            raise TargetError(
                f"{self.folder} holds a run with another configuration; "
                "choose another folder, or the same settings.",
                path=self.folder,
            )
        self.network.load_state_dict(checkpoint.network)
        self.average = {k: v.to(self.processes.device) for k, v in checkpoint.ema.items()}
        restore_optimiser(self.optimiser, self.network, checkpoint.optimiser, checkpoint.step)
        self.step, self.record = checkpoint.step, checkpoint.record

    def _forget_lines_after(self, step: int) -> None:
        """Drop metrics that a killed run wrote after its last checkpoint."""
        path = self.folder / "metrics.jsonl"
        if self.processes.first and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [ln for ln in lines if ln.endswith("\n") and json.loads(ln)["step"] <= step]
            with atomic_file(path) as file:
                file.write("".join(kept).encode())

    def _give_up(self, batch: StepBatch) -> None:
        path = self.folder / f"not-a-number-{self.step}-{self.processes.rank}.safetensors"
        save_file(
            {"degraded": batch.degraded.contiguous(), "clean": batch.clean.contiguous()},
            path,
            {"stages": str(batch.stages), "recursions": str(batch.recursions)},
        )
        raise FileError(
            f"The loss of step {self.step} is not a number; its batch is kept in {path}, "
            f"and the last checkpoint is unharmed.",
            path=path,
        )


def finished_steps(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a run's metrics.jsonl."""
    path = folder / "metrics.jsonl"
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
