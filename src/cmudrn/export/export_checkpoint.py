"""From a checkpoint to a model file, compared with torch."""

from __future__ import annotations

import math
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cmudrn.engines import Engine, open_engine
from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError
from cmudrn.export.live_engine import (
    open_checkpoint,
    read_averaged,
    refuse_veil_estimator,
    veil_estimator_of,
)
from cmudrn.export.onnx_graph import export_onnx
from cmudrn.files import atomic_file, check_target
from cmudrn.image.resampling import SIDE
from cmudrn.models.info import VEIL_PREFIX

TOLERANCE = 1e-4


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    name: str | None = None,
    toward: Path | None = None,
    share: float = 0.0,
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
        toward: checkpoint of a run that began with this one's weights: the model lies between.
        share: how far along, 0 this checkpoint, 1 the other.
        change_gating_db: what the file asks of `cmudrn.restoration.Restorer`; None is nothing.
        overwrite: whether a model file that exists is replaced.

    Raises:
        CmudrnError: the output is no .onnx file, exists already or is a checkpoint itself; a
            checkpoint is wrong or a context branch alone; the two do not fit or stand behind
            different context branches; the change_gating is not above 0; model file and torch
            differ; or the file cannot be written.

    References:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (weights between).
    """
    if output.suffix.lower() != ".onnx":
        raise CmudrnError(f"A model is an .onnx file, not {output.name}.")
    for source in (checkpoint, toward):
        check_target(source if source and source.exists() else None, output, overwrite)
    if change_gating_db is not None and not 0 < change_gating_db < math.inf:
        raise CmudrnError(
            f"A change gate is a number of decibels above 0; it is {change_gating_db:g}."
        )
    config, weights, record = read_averaged(checkpoint)
    refuse_veil_estimator(checkpoint, config)
    about = {k: record[k] for k in ("elastic", "licence", "training")}
    if toward is not None:
        _, others, theirs = read_averaged(toward)
        weights = blend(weights, others, share)
        # A network is at home behind the branch it learned behind; the file has room for one.
        if record["training"].get("context") != theirs["training"].get("context"):
            raise CmudrnError(
                f"{checkpoint} and {toward} were not trained behind the same context branch."
            )
        about["toward"] = {
            "share": share,
            "sha256": sha256(toward.read_bytes()).hexdigest(),
            "training": theirs["training"],
        }
    if change_gating_db is not None:
        about["change_gating_db"] = change_gating_db
    tensors, context = weights, veil_estimator_of(record, checkpoint)
    if context is not None:
        about["context"] = {"parameters": context.parameters, "thumbnail": SIDE}
        about["parameters"] = record["parameters"] + context.parameters
        tensors = weights | {
            f"{VEIL_PREFIX}{k}": torch.from_numpy(v) for k, v in context.weights.items()
        }
    with tempfile.TemporaryDirectory() as folder:
        unchecked = Path(folder) / "model.onnx"
        export_onnx(config, tensors, unchecked, name or record["name"], **about)
        difference = compare(checkpoint, weights, unchecked)
        if not difference <= TOLERANCE:
            raise CmudrnError(f"The exported model differs from torch by {difference:.1e}.")
        with atomic_file(output) as file:
            file.write(unchecked.read_bytes())
    return difference


def open_exported(
    checkpoint: Path, threads: int | None = None, engine: str = "auto", precision: str = "fp32"
) -> Engine:
    """Return a checkpoint's averaged weights ready to run as a shipped model would.

    Args:
        checkpoint: of a run, or one of the DRN authors' `.pth` files.
        threads: as for `open_engine`.
        engine: likewise.
        precision: likewise.

    Raises:
        CmudrnError: the file is wrong, or model file and torch differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_checkpoint(checkpoint, model)
        return open_engine(model, engine, threads, precision)


def blend(weights: dict[str, Tensor], others: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return (1 - share) weights + share others.

    Raises:
        CmudrnError: they are of different networks, or share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise CmudrnError(f"A share is between 0 and 1; it is {share:g}.")
    shapes, theirs = ({k: v.shape for k, v in w.items()} for w in (weights, others))
    if shapes != theirs:
        raise CmudrnError("The two checkpoints are of different networks.")
    return {name: value.lerp(others[name], share) for name, value in weights.items()}


def compare(checkpoint: Path, weights: dict[str, Tensor], model: Path) -> float:
    """Return the largest difference of a model file from weights in a checkpoint's network."""
    live, exported = open_checkpoint(checkpoint), OnnxEngine(model)
    live.network.load_state_dict(weights)
    batch = np.random.default_rng(0).random((2, 3, 37, 50), dtype=np.float32)
    worst = 0.0
    for stages, recursions in ((None, None), (1, 1), (4, 2)):
        ours, theirs = (
            engine(batch, branches=True, stages=stages, recursions=recursions)
            for engine in (live, exported)
        )
        pairs = [(ours.restored, theirs.restored)]
        pairs += [(ours.branches[task], theirs.branches[task]) for task in ours.branches]
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in pairs))
    return worst
