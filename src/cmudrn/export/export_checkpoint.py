"""From a checkpoint to a model file, compared with torch."""

from __future__ import annotations

import math
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.engines import Engine, open_engine
from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError, FileError, InvalidSettingError
from cmudrn.export.live_engine import (
    open_checkpoint,
    read_averaged,
    refuse_veil_estimator,
    veil_estimator_of,
)
from cmudrn.export.onnx_graph import export_onnx
from cmudrn.export.onnx_unet import export_unet
from cmudrn.files import atomic_file, check_target
from cmudrn.image.resampling import SIDE
from cmudrn.models.info import VEIL_PREFIX
from cmudrn.networks.config import NetworkConfig
from cmudrn.restoration import run_network
from cmudrn.restoration.dehazing import VeilEstimator

TOLERANCE = 1e-4


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    name: str | None = None,
    *,
    interpolate_with: Path | None = None,
    weight: float = 0.0,
    veil_estimator: Path | None = None,
    change_gating_db: float | None = None,
    overwrite: bool = False,
) -> float:
    """Write a checkpoint's averaged weights as a model file and return how far it is from torch.

    The two are compared on noise, at the trained depth and at others; a file that differs by more
    than 1e-4 is not written.

    Args:
        checkpoint: of a run, or one of the DRN authors' `.pth` files.
        output: the model file, which ends in .onnx.
        name: of the model; None is the preset's.
        interpolate_with: checkpoint of a run that began with this one's weights; the model's
            weights are interpolated between the two.
        weight: of that checkpoint, 0 to 1.
        veil_estimator: checkpoint of a veil estimator, put before a network that was trained
            without one; its correction leaves pictures without a veil as they are.
        change_gating_db: what the file asks of `cmudrn.restoration.Restorer`; None is nothing.
        overwrite: whether a model file that exists is replaced.

    Raises:
        TargetError: the output exists already, is a checkpoint itself, or cannot be written.
        InvalidSettingError: the output is no .onnx file, the weight is not in [0, 1], or the
            change gate is not above 0.
        FileError: a checkpoint is wrong, or holds a veil estimator alone or a network that has no
            model file; the two do not fit or were trained with different veil estimators.
        CmudrnError: model file and torch differ.

    References:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (interpolation).
    """
    _check_request(checkpoint, output, interpolate_with, change_gating_db, overwrite)
    config, weights, record = read_averaged(checkpoint)
    _refuse_without_model_file(checkpoint, config)
    about = {k: record[k] for k in ("elastic", "licence", "training")}
    if interpolate_with is not None:
        weights = interpolate(weights, checkpoint, record, interpolate_with, weight, about)
    if change_gating_db is not None:
        about["change_gating_db"] = change_gating_db
    tensors, estimator = weights, veil_estimator_of(record, checkpoint)
    if veil_estimator is not None:
        estimator = _open_other_estimator(estimator, checkpoint, veil_estimator, about)
    if estimator is not None:
        about["parameters"] = record["parameters"] + estimator.parameters
        tensors = weights | _veil_tensors(estimator, about)
    with tempfile.TemporaryDirectory() as folder:
        unchecked = Path(folder) / "model.onnx"
        write_network(config, tensors, unchecked, name or record["name"], **about)
        difference = _check_difference(checkpoint, weights, unchecked)
        with atomic_file(output) as file:
            file.write(unchecked.read_bytes())
    return difference


def _veil_tensors(estimator: VeilEstimator, about: dict[str, Any]) -> dict[str, Tensor]:
    """Return an estimator's weights as a model file names them, and note it in the record."""
    about["context"] = {"parameters": estimator.parameters, "thumbnail": SIDE}
    return {f"{VEIL_PREFIX}{k}": torch.from_numpy(v) for k, v in estimator.weights.items()}


def _open_other_estimator(
    own: VeilEstimator | None, checkpoint: Path, path: Path, about: dict[str, Any]
) -> VeilEstimator:
    """Return the veil estimator that is put before a network, and note it in the record `about`.

    Raises:
        FileError: the network was trained with one, or the file holds none.
    """
    if own is not None:
        raise FileError(
            f"{checkpoint} was trained with a veil estimator; it takes no other one.", path=path
        )
    estimator = open_veil_estimator(path)
    about["veil_estimator"] = {
        "sha256": sha256(path.read_bytes()).hexdigest(),
        "training": read_averaged(path)[2]["training"],
    }
    return estimator


def write_network(
    config: NetworkConfig, weights: dict[str, Tensor], path: Path, name: str, **about: Any
) -> None:
    """Write a network of either kind as a model file, by the writer of its kind.

    Args:
        config: the network's structure.
        weights: its state dict, and that of a veil estimator where there is one.
        path: the .onnx file.
        name: the model's name.
        about: more for the record: elastic, training, licence.
    """
    write = export_unet if config.kind == "cmudrn-unet" else export_onnx
    write(config, weights, path, name, **about)


def _refuse_without_model_file(checkpoint: Path, config: NetworkConfig) -> None:
    """Refuse networks of which no model file is written."""
    refuse_veil_estimator(checkpoint, config)
    if not config.has_model_file:
        variant = "" if config.is_comparator else " with unshared recursions or reduced stages"
        raise FileError(
            f"{checkpoint} holds {config.kind}{variant}, of which no model file is written; "
            "evaluate and sheet run it."
        )


def _check_difference(checkpoint: Path, weights: dict[str, Tensor], model: Path) -> float:
    """Return how far a model file is from torch; refuse it where that is too far."""
    difference = compare(checkpoint, weights, model)
    if not difference <= TOLERANCE:
        raise CmudrnError(
            f"The model exported from {checkpoint} differs from torch by {difference:.1e}."
        )
    return difference


def _check_request(
    checkpoint: Path,
    output: Path,
    interpolate_with: Path | None,
    change_gating_db: float | None,
    overwrite: bool,
) -> None:
    """Refuse what cannot be exported, before any file is read."""
    if output.suffix.lower() != ".onnx":
        raise InvalidSettingError(
            f"A model is an .onnx file, not {output.name}.", setting="output", value=output
        )
    for source in (checkpoint, interpolate_with):
        check_target(source if source and source.exists() else None, output, overwrite)
    if change_gating_db is not None and not 0 < change_gating_db < math.inf:
        raise InvalidSettingError(
            f"A change gate is a number of decibels above 0; it is {change_gating_db:g}.",
            setting="change_gating_db",
            value=change_gating_db,
        )


def interpolate(
    weights: dict[str, Tensor],
    checkpoint: Path,
    record: dict[str, Any],
    other: Path,
    weight: float,
    about: dict[str, Any],
) -> dict[str, Tensor]:
    """Return weights between two checkpoints, and note the other one in the record `about`.

    Raises:
        FileError: they are of different networks, or were trained with different estimators.
        InvalidSettingError: the weight is not between 0 and 1.
    """
    _, others, theirs = read_averaged(other)
    blended = blend(weights, others, weight)
    # A network fits the veil estimator that it was trained with; the file has room for one.
    if record["training"].get("veil_estimator") != theirs["training"].get("veil_estimator"):
        raise FileError(
            f"{checkpoint} and {other} were not trained with the same veil estimator.", path=other
        )
    about["interpolated_with"] = {
        "weight": weight,
        "sha256": sha256(other.read_bytes()).hexdigest(),
        "training": theirs["training"],
    }
    return blended


def open_exported(
    checkpoint: Path, threads: int | None = None, engine: str = "auto", precision: str = "fp32"
) -> Engine:
    """Return a checkpoint's averaged weights ready to run as a shipped model would.

    Networks that have no model file run in torch: those of other authors, and some variants.

    Args:
        checkpoint: of a run, or one of the DRN authors' `.pth` files.
        threads: as for `open_engine`.
        engine: likewise.
        precision: likewise.

    Raises:
        InvalidSettingError: an engine or precision is asked for where only torch runs.
        CmudrnError: the file is wrong, or model file and torch differ.
    """
    if not read_averaged(checkpoint)[0].has_model_file:
        for setting, value, default in (
            ("engine", engine, "auto"),
            ("precision", precision, "fp32"),
        ):
            if value not in (default, "auto"):
                raise InvalidSettingError(
                    f"{checkpoint} has no model file: it runs in torch, in fp32. Leave the "
                    f"{setting} out.",
                    setting=setting,
                    value=value,
                )
        return open_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_checkpoint(checkpoint, model)
        return open_engine(model, engine, threads, precision)


def blend(
    weights: dict[str, Tensor], others: dict[str, Tensor], weight: float
) -> dict[str, Tensor]:
    """Return (1 - weight) weights + weight others.

    Raises:
        CmudrnError: they are of different networks.
        InvalidSettingError: weight is not between 0 and 1.
    """
    if not 0 <= weight <= 1:
        raise InvalidSettingError(
            f"A weight is between 0 and 1; it is {weight:g}.", setting="weight", value=weight
        )
    shapes, theirs = ({k: v.shape for k, v in w.items()} for w in (weights, others))
    if shapes != theirs:
        raise CmudrnError("The two checkpoints are of different networks.")
    return {name: value.lerp(others[name], weight) for name, value in weights.items()}


def compare(checkpoint: Path, weights: dict[str, Tensor], model: Path) -> float:
    """Return the largest difference of a model file from weights in a checkpoint's network.

    It is relative to the greatest value where that is above 1: float32 rounds relatively.
    """
    live, exported = open_checkpoint(checkpoint), OnnxEngine(model)
    live.network.load_state_dict(weights)
    sides = (37, 50) if exported.info.alignment == 1 else (4 * exported.info.alignment,) * 2
    batch = np.random.default_rng(0).random((2, 3, *sides), dtype=np.float32)
    worst = 0.0
    others = ((1, 1), (4, 2)) if exported.info.adjustable else ()
    for stages, recursions in ((None, None), *others):
        ours, theirs = (
            run_network(engine, batch, branches=True, stages=stages, recursions=recursions)
            for engine in (live, exported)
        )
        pairs = [(ours.restored, theirs.restored)]
        pairs += [(ours.branches[task], theirs.branches[task]) for task in ours.branches]
        worst = max(worst, *(_relative_difference(a, b) for a, b in pairs))
    return worst


def _relative_difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))
