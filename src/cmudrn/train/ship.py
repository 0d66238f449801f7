"""From a checkpoint to a model file, compared with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError
from cmudrn.nn.engine import open_checkpoint, read_averaged
from cmudrn.nn.export import export_onnx

TOLERANCE = 1e-4


def export_checkpoint(checkpoint: Path, output: Path, name: str | None = None) -> float:
    """Write a checkpoint's averaged weights as a model file and return how far it is from torch.

    The two are compared on noise, at the trained depth and at others; a file that differs by more
    than 1e-4 is not written.

    Raises:
        CmudrnError: the checkpoint is wrong, or the two differ.
    """
    config, weights, record = read_averaged(checkpoint)
    about = {k: record[k] for k in ("elastic", "licence", "training")}
    partial = output.with_name(f".{output.name}.unchecked")
    try:
        export_onnx(config, weights, partial, name or record["name"], **about)
        difference = compare(checkpoint, partial)
        if not difference <= TOLERANCE:
            raise CmudrnError(f"The exported model differs from torch by {difference:.1e}.")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return difference


def compare(checkpoint: Path, model: Path) -> float:
    """Return the largest difference between a checkpoint in torch and a model file."""
    live, exported = open_checkpoint(checkpoint), OnnxEngine(model)
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
