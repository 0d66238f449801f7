"""Checkpoints: safetensors files that say all about themselves and resume bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmudrn.config import validate, with_present_names
from cmudrn.errors import FileError
from cmudrn.files import replace_file
from cmudrn.networks.config import NetworkConfig

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a training run.

    Patches, depths and sources are drawn from (seed, step), so the step is the position in the
    data and all the random state there is.

    Attributes:
        config: the whole merged configuration as a plain table, with the present names of settings.
        step: optimiser steps done.
        network: state dict.
        ema: exponential moving average of the weights, same keys; equal to network where it is off.
        optimiser: for each parameter "NAME/exp_avg" and so on, what the optimiser keeps.
        record: provenance: seconds trained, versions, data fingerprint, validation scores.
    """

    config: dict[str, Any]
    step: int
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    record: dict[str, Any]

    @property
    def network_config(self) -> NetworkConfig:
        """The part of the configuration that describes the network."""
        return validate(NetworkConfig, self.config.get("network", {}))


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the old file stays whole until the new one is."""
    tensors = {
        f"{group}/{name}": value.detach().contiguous().cpu().clone()
        for group in ("network", "ema", "optimiser")
        for name, value in getattr(checkpoint, group).items()
    }
    about = {
        "format": FORMAT,
        "step": checkpoint.step,
        "config": checkpoint.config,
        "record": checkpoint.record,
    }
    partial = path.with_name(f".{path.name}.partial")  # what a killed run left is written over
    try:
        save_file(tensors, partial, metadata={"cmudrn": json.dumps(about, sort_keys=True)})
        replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path, *, averaged_only: bool = False) -> Checkpoint:
    """Return what `save_checkpoint` wrote.

    Args:
        path: the checkpoint.
        averaged_only: read the averaged weights and leave `network` and `optimiser` empty.

    Raises:
        FileError: the file is missing, damaged, or no checkpoint of this program.
    """
    if not path.is_file():
        raise FileError(f"There is no checkpoint {path}.", path=path)
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "ema": {}, "optimiser": {}}
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["cmudrn"])
            for key in file.keys():  # noqa: SIM118 (not a dictionary)
                group, _, name = key.partition("/")
                if group == "ema" or not averaged_only:
                    groups[group][name] = file.get_tensor(key)
        config, step, record = with_present_names(about["config"]), about["step"], about["record"]
    except (
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise FileError(f"{path} is not a checkpoint of this program.", path=path) from error
    return Checkpoint(config, step, **groups, record=with_present_names(record))


def optimiser_state(
    optimiser: torch.optim.Optimizer, network: torch.nn.Module
) -> dict[str, Tensor]:
    """Return what an optimiser keeps for each parameter, under "NAME/WHAT"; steps are left out."""
    return {
        f"{name}/{what}": value
        for name, parameter in network.named_parameters()
        for what, value in optimiser.state[parameter].items()
        if what != "step"
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    network: torch.nn.Module,
    kept: dict[str, Tensor],
    step: int,
) -> None:
    """Put an optimiser back to where `optimiser_state` found it after `step` steps."""
    parameters = dict(network.named_parameters())
    for parameter in parameters.values():
        optimiser.state[parameter] = {"step": torch.tensor(float(step))}
    for key, value in kept.items():
        name, _, what = key.partition("/")
        state = optimiser.state[parameters[name]]
        state[what] = value.to(parameters[name].device).clone(memory_format=torch.preserve_format)
