"""The veil estimator in a checkpoint, ready to run with NumPy."""

from __future__ import annotations

from pathlib import Path

from cmudrn.checkpoints.checkpoint import read_checkpoint
from cmudrn.errors import FileError
from cmudrn.restoration.dehazing import VeilEstimator


def open_veil_estimator(path: Path) -> VeilEstimator:
    """Return the veil estimator in a checkpoint, with its averaged weights.

    Raises:
        FileError: the file is missing, damaged, or holds another network.
    """
    checkpoint = read_checkpoint(path, averaged_only=True)
    kind = checkpoint.network_config.kind
    if kind != "veil-estimator":
        raise FileError(f"{path} holds a {kind} network, no veil estimator.", path=path)
    return VeilEstimator({name: value.numpy() for name, value in checkpoint.ema.items()})
