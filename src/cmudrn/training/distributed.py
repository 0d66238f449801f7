"""This process's place among the processes of one training run."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cmudrn.errors import InvalidSettingError


@dataclass(frozen=True)
class ProcessGroup:
    """How many processes share a run, and which one this is.

    Attributes:
        rank: 0 to count - 1.
        count: processes in all.
        device: what this one computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network, its gradients averaged over processes where there are several."""
        return DistributedDataParallel(network) if self.count > 1 else network

    def sum(self, value: Tensor) -> float:
        """Return the sum of a scalar over all processes."""
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return float(value)

    def close(self) -> None:
        """End the communication with the other processes."""
        if self.count > 1:
            distributed.destroy_process_group()


def join_process_group() -> ProcessGroup:
    """Return this process's place; `torchrun` tells it through the environment.

    ProcessGroup talk through gloo on CPUs and nccl on GPUs.

    Raises:
        InvalidSettingError: this machine has GPUs, but fewer than processes.
    """
    rank = int(os.environ.get("RANK", "0"))
    count = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpu = torch.cuda.is_available()
    if gpu and local >= torch.cuda.device_count():
        raise InvalidSettingError(
            f"Process {local} of this machine has no GPU; there are {torch.cuda.device_count()}."
        )
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if count > 1:
        distributed.init_process_group("nccl" if gpu else "gloo")
    return ProcessGroup(rank, count, device)
