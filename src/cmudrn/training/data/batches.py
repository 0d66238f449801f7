"""Degraded and clean patches for each step, made on the fly from (seed, step) alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmudrn.errors import CmudrnError
from cmudrn.networks.config import NetworkConfig
from cmudrn.training.config import Config, ElasticConfig

SOURCES, DEPTHS, PATCHES = 1, 2, 3
"""Streams of random numbers of a step. Not 0: NumPy seeds [a, b] and [a, b, 0] alike."""


@dataclass(frozen=True)
class StepBatch:
    """What one process needs for one step.

    Attributes:
        degraded: (b, 3, P, P) float32 in [0, 1], this process's share of the step.
        clean: the same patches without weather.
        belongs: (branches, b) bool, which branch each patch supervises.
        whole: (branches, B) bool, the same for the step's patches over all processes.
        stages: T for this step.
        recursions: S for this step.
    """

    degraded: Tensor
    clean: Tensor
    belongs: Tensor
    whole: Tensor
    stages: int
    recursions: int


class PatchSource(Protocol):
    """Where the degraded patches of one ingredient of the mixture come from."""

    def __call__(
        self, size: int, rng: np.random.Generator, /
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (degraded, clean), each (size, size, 3) RGB in [0, 1]."""
        ...


def draw_depth(
    network: NetworkConfig, elastic: ElasticConfig, seed: int, step: int
) -> tuple[int, int]:
    """Return (stages, recursions) of a step."""
    rng = np.random.default_rng([seed, step, DEPTHS])
    stages, recursions = network.stages, network.recursions
    if rng.random() < elastic.full:
        return stages, recursions
    if elastic.stages is not None:
        stages = int(rng.integers(elastic.stages[0], elastic.stages[1] + 1))
    if elastic.recursions is not None:
        recursions = int(rng.integers(elastic.recursions[0], elastic.recursions[1] + 1))
    return stages, recursions


def draw_sources(config: Config, step: int) -> list[str]:
    """Return the name of the source of each of a step's patches.

    Sources for tasks that the network does not have are left out. With "alternate" passes, step n
    holds patches for task n modulo the number of tasks (and patches for all tasks), as the
    paper's two passes do.

    Raises:
        CmudrnError: no source is left.
    """
    rng = np.random.default_rng([config.training.seed, step, SOURCES])
    tasks = list(config.network.tasks)
    if config.data.passes == "alternate":
        tasks = [tasks[step % len(tasks)]]
    shares = {
        name: source.weight
        for name, source in config.data.sources.items()
        if source.task in (*tasks, "all")
    }
    if not shares:
        raise CmudrnError(f"No source of training data is for {' or '.join(tasks)}.")
    weights = np.array(list(shares.values()))
    return [str(n) for n in rng.choice(list(shares), config.data.batch, p=weights / weights.sum())]


def belonging(config: Config, names: list[str]) -> Tensor:
    """Return (branches, B) bool: which branch each patch supervises.

    The one branch of a DRN or a comparator belongs to all its tasks.
    """
    tasks = [config.data.sources[name].task for name in names]
    if config.network.has_one_branch:
        return torch.ones(1, len(tasks), dtype=torch.bool)
    return torch.tensor([[t in (branch, "all") for t in tasks] for branch in config.network.tasks])


class StepBatches(Dataset[StepBatch]):
    """Step number -> batch. The same step gives the same batch on any machine at any time.

    Args:
        config: the run's configuration.
        sources: name -> where its patches come from; built once in each worker process.
        rank: number of this process.
        processes: how many processes share each step.

    Raises:
        CmudrnError: a process would get no patch.
    """

    def __init__(
        self, config: Config, sources: Mapping[str, PatchSource], rank: int = 0, processes: int = 1
    ) -> None:
        if config.data.batch < processes:
            raise CmudrnError(
                f"A batch of {config.data.batch} cannot be shared by {processes} processes."
            )
        self.config, self.sources = config, sources
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return self.config.training.steps

    def __getitem__(self, step: int) -> StepBatch:
        config = self.config
        names = draw_sources(config, step)
        mine = range(self.rank, config.data.batch, self.processes)
        patches = [
            self.sources[names[i]](
                config.data.patch,
                np.random.default_rng([config.training.seed, step, PATCHES, i + 1]),
            )
            for i in mine
        ]
        degraded, clean = (
            torch.from_numpy(np.stack([pair[k] for pair in patches])).permute(0, 3, 1, 2)
            for k in (0, 1)
        )
        whole = belonging(config, names)
        depth = draw_depth(config.network, config.training.elastic, config.training.seed, step)
        return StepBatch(degraded, clean, whole[:, list(mine)], whole, *depth)


def load_steps(batches: StepBatches, first: int, workers: int) -> DataLoader[StepBatch]:
    """Return the batches of steps first, first + 1, ... in order, prepared by worker processes."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, len(batches)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
