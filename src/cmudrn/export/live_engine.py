"""A live network as an engine, so that one restorer and one evaluator serve both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.checkpoints.drn_authors import load_official_drn
from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.engines.base import TILE_PIXELS, Batch, EngineOutputs, name_outputs
from cmudrn.errors import FileError
from cmudrn.export.onnx_graph import describe
from cmudrn.models.info import ModelInfo
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.registry import make_network
from cmudrn.restoration.dehazing import VeilEstimator


class TorchEngine:
    """Runs a network in torch, without gradients.

    Args:
        network: any network of `cmudrn.networks`.
        config: its structure.
        record: what a model file would say about itself (`describe`).
        sha256: hash of the file it came from, "" where there is none.
        veil_estimator: sees whole images before the network; None where there is none.
    """

    tile_pixels = TILE_PIXELS
    precision = "fp32"
    threads = 1
    instruction_set = ""

    def __init__(
        self,
        network: nn.Module,
        config: NetworkConfig,
        record: dict[str, Any],
        sha256: str = "",
        veil_estimator: VeilEstimator | None = None,
    ) -> None:
        self.network = network.eval()
        self.tasks = () if config.has_one_branch else config.tasks
        self.info = ModelInfo(
            name=record["name"],
            network=config.kind if config.has_model_file else "other",
            tasks=config.tasks,
            stages=config.stages,
            recursions=config.recursions,
            elastic=bool(record.get("elastic", False)),
            adjustable=config.is_adjustable,
            parameters=record["parameters"],
            sha256=sha256,
            metadata=record,
            veil_weights=veil_estimator.weights if veil_estimator else {},
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
        fused = outputs.fused.cpu().numpy()
        if not branches:
            return EngineOutputs(fused, {})
        estimates = [
            estimates[-1].cpu().numpy() for estimates in outputs.branches[: len(self.tasks)]
        ]
        return name_outputs(["restored", *self.tasks], [fused, *estimates], self.info)


def open_checkpoint(path: Path | str) -> TorchEngine:
    """Return an engine for a training checkpoint, or for one of the DRN authors' `.pth` files.

    The exponential moving average of a checkpoint's weights is used, as it is for export.

    Raises:
        FileError: the file is neither, or holds a veil estimator alone.
    """
    path = Path(path)
    config, weights, record = read_averaged(path)
    refuse_veil_estimator(path, config)
    network = make_network(config)
    network.load_state_dict(weights)
    return TorchEngine(network, config, record, _hash(path), veil_estimator_of(record, path))


def refuse_veil_estimator(path: Path, config: NetworkConfig) -> None:
    """Refuse a checkpoint of a veil estimator alone where a network is needed.

    Raises:
        FileError: it is one.
    """
    if config.kind == "veil-estimator":
        raise FileError(
            f"{path} holds a veil estimator, which restores no images; "
            "the model of a run that was trained with it contains it."
        )


def veil_estimator_of(record: dict[str, Any], checkpoint: Path) -> VeilEstimator | None:
    """Return the veil estimator with which a checkpoint was trained, or None.

    Its path was recorded as it was given for training; where it is relative, it is looked up from
    the working directory and from every folder above the checkpoint.

    Args:
        record: what `read_averaged` returned for the checkpoint.
        checkpoint: the file itself.

    Raises:
        FileError: the estimator's file is missing or has changed since.
    """
    trained = record["training"]
    name = trained.get("config", {}).get("data", {}).get("veil_estimator")
    if name is None:
        return None
    places = (Path(), *checkpoint.absolute().parents)
    found = [place / name for place in places if (place / name).is_file()]
    if not found:
        raise FileError(
            f"The veil estimator {name}, which data.veil_estimator of the run {checkpoint} names, "
            "is neither here nor beside the run.",
            path=name,
        )
    for path in found:  # another file may have the name: the hash says which is meant
        if trained.get("veil_estimator") == _hash(path):
            return open_veil_estimator(path)
    raise FileError(
        f"The veil estimator {name} is not the one that the run {checkpoint} was trained with.",
        path=name,
    )


def read_averaged(path: Path) -> tuple[NetworkConfig, dict[str, Tensor], dict[str, Any]]:
    """Return (structure, averaged weights, record) of a checkpoint, or of the DRN authors' file.

    Raises:
        FileError: the file is missing, damaged, or neither.
    """
    if path.suffix == ".pth":
        weights = load_official_drn(path).state_dict()
        drn = NetworkConfig(kind="drn", tasks=("rain",), stages=7, recursions=7)
        theirs = {"elastic": False, "licence": "none stated", "training": {"by": "the DRN authors"}}
        return drn, weights, describe(drn, path.stem, **theirs)
    checkpoint = read_checkpoint(path, averaged_only=True)
    config, table = checkpoint.network_config, checkpoint.config
    record = describe(
        config,
        table["name"],
        elastic=is_elastic(table),
        licence=table["licence"],
        training={"step": checkpoint.step, "config": table, **checkpoint.record},
    )
    return config, checkpoint.ema, record


def is_elastic(config: Mapping[str, Any]) -> bool:
    """Return whether depths were drawn anew for each step of a run, by its configuration."""
    elastic = config["training"].get("elastic", {})
    return elastic.get("stages") is not None or elastic.get("recursions") is not None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
