"""Checkpoints: safetensors files that say all about themselves and resume bit for bit."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cmudrn.config import Config, make_config
from cmudrn.errors import CmudrnError

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a training run.

    Patches, depths and sources are drawn from (seed, step), so the step is the position in the
    data and all the random state there is.

    Attributes:
        config: the whole merged configuration.
        step: optimiser steps done.
        network: state dict.
        ema: running mean of the weights, same keys; equal to network where EMA is off.
        optimiser: for each parameter "NAME/exp_avg" and so on, what the optimiser keeps.
        record: provenance: seconds trained, versions, data fingerprint, validation scores.
    """

    config: Config
    step: int
    network: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    record: dict[str, Any]


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
        "config": checkpoint.config.model_dump(mode="json", by_alias=True),
        "record": checkpoint.record,
    }
    partial = path.with_name(f".{path.name}.partial")  # what a killed run left is written over
    try:
        save_file(tensors, partial, metadata={"cmudrn": json.dumps(about, sort_keys=True)})
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Return what `save_checkpoint` wrote.

    Raises:
        CmudrnError: the file is missing, damaged, or no checkpoint of this program.
    """
    if not path.is_file():
        raise CmudrnError(f"There is no checkpoint {path}.")
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "ema": {}, "optimiser": {}}
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["cmudrn"])
            for key in file.keys():
                group, _, name = key.partition("/")
                groups[group][name] = file.get_tensor(key)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CmudrnError(f"{path} is not a checkpoint of this program.") from error
    return Checkpoint(
        make_config(about["config"]),
        about["step"],
        groups["network"],
        groups["ema"],
        groups["optimiser"],
        about["record"],
    )


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
