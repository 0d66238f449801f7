"""A live network as an engine, so that one restorer and one evaluator serve both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmudrn.checkpoints.averaged_weights import open_context, read_weights
from cmudrn.checkpoints.drn_authors import load_official_drn
from cmudrn.config import NetworkConfig, TrainingConfig
from cmudrn.engines.base import Batch, EngineOutputs
from cmudrn.errors import CmudrnError
from cmudrn.export.onnx_graph import describe
from cmudrn.models.info import ModelInfo
from cmudrn.networks.registry import make_network
from cmudrn.restoration.dehazing import VeilEstimator


class TorchEngine:
    """Runs a network in torch, without gradients.

    Args:
        network: any network of `cmudrn.networks`.
        config: its structure.
        record: what a model file would say about itself (`describe`).
        sha256: hash of the file it came from, "" where there is none.
        context: the branch that sees whole pictures before the network, or None.
    """

    def __init__(
        self,
        network: nn.Module,
        config: NetworkConfig,
        record: dict[str, Any],
        sha256: str = "",
        context: VeilEstimator | None = None,
    ) -> None:
        self.network = network.eval()
        self.tasks = config.tasks if config.kind != "drn" else ()
        self.info = ModelInfo(
            name=record["name"],
            network=config.kind,
            tasks=config.tasks,
            stages=config.stages,
            recursions=config.recursions,
            elastic=bool(record.get("elastic", False)),
            adjustable=True,
            parameters=record["parameters"],
            sha256=sha256,
            metadata=record,
            veil_weights=context.weights if context else {},
        )

    @torch.inference_mode()
    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch; see `Engine`."""
        device = next(self.network.parameters()).device
        outputs = self.network(torch.from_numpy(batch).to(device), stages, recursions)
        estimates = {
            task: estimates[-1].cpu().numpy()
            for task, estimates in zip(self.tasks, outputs.branches, strict=False)
        }
        return EngineOutputs(outputs.fused.cpu().numpy(), estimates if branches else {})


def open_checkpoint(path: Path | str) -> TorchEngine:
    """Return an engine for a training checkpoint, or for one of the DRN authors' `.pth` files.

    The running mean of a checkpoint's weights is used, as it is for export.

    Raises:
        CmudrnError: the file is neither, or holds a context branch alone.
    """
    path = Path(path)
    config, weights, record = read_averaged(path)
    refuse_context(path, config)
    network = make_network(config)
    network.load_state_dict(weights)
    return TorchEngine(network, config, record, _hash(path), context_behind(record, path))


def refuse_context(path: Path, config: NetworkConfig) -> None:
    """Refuse a checkpoint of a context branch alone where a network is needed.

    Raises:
        CmudrnError: it is one.
    """
    if config.kind == "context":
        raise CmudrnError(
            f"{path} holds a context branch, which restores no pictures; "
            "it goes into the model of a run that learned behind it."
        )


def context_behind(record: dict[str, Any], checkpoint: Path) -> VeilEstimator | None:
    """Return the context branch behind which a checkpoint was trained, or None.

    Its path was recorded as it was given for training; where it is relative, it is looked up from
    the working directory and from every folder above the checkpoint.

    Args:
        record: what `read_averaged` returned for the checkpoint.
        checkpoint: the file itself.

    Raises:
        CmudrnError: the branch's file is missing or has changed since.
    """
    trained = record["training"]
    name = trained.get("config", {}).get("data", {}).get("context")
    if name is None:
        return None
    places = (Path(), *checkpoint.absolute().parents)
    found = [place / name for place in places if (place / name).is_file()]
    if not found:
        raise CmudrnError(
            f"The context branch {name}, which data.context of the run {checkpoint} names, "
            "is neither here nor beside the run."
        )
    for path in found:  # another file may have the name: the hash says which is meant
        if trained.get("context") == _hash(path):
            return open_context(path)
    raise CmudrnError(f"The context branch {name} is not the one this run was trained behind.")


def read_averaged(path: Path) -> tuple[NetworkConfig, dict[str, Tensor], dict[str, Any]]:
    """Return (structure, averaged weights, record) of a checkpoint, or of the DRN authors' file.

    Raises:
        CmudrnError: the file is missing, damaged, or neither.
    """
    if path.suffix == ".pth":
        weights = load_official_drn(path).state_dict()
        drn = NetworkConfig(kind="drn", tasks=("rain",), stages=7, recursions=7)
        theirs = {"elastic": False, "licence": "none stated", "training": {"by": "the DRN authors"}}
        return drn, weights, describe(drn, path.stem, **theirs)
    config, weights, about = read_weights(path)
    record = describe(
        config.network,
        config.name,
        elastic=is_elastic(config.training),
        licence=config.licence,
        training={
            "step": about["step"],
            "config": about["config"],
            **about["record"],
        },
    )
    return config.network, weights, record


def is_elastic(training: TrainingConfig) -> bool:
    """Return whether depths were drawn in training."""
    return training.elastic.stages is not None or training.elastic.recursions is not None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
