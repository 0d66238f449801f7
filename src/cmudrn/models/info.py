"""What a model file says about itself, as every room above reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError

VEIL_PREFIX = "context."
"""What the weights of a veil estimator are called in a model file."""
VEIL_BLOCK = 8
"""Side of the blocks of a thumbnail whose mean, least and greatest values a veil estimator sees."""
VEIL_MAX_THICKNESS = np.float32(1.0)
"""Greatest -log t: what is darker behind the veil than this leaves little but noise."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        name: the model's name, e.g. "cmudrn".
        network: "cmudrn" or "drn"; "other" for a foreign model file.
        tasks: what each branch was trained to remove, in branch order, e.g. ("rain", "snow").
        stages: T, the outer recursions (the paper's inter loop) the model was trained for.
        recursions: S, the inner recursions (the paper's intra loop).
        elastic: whether other values of stages and recursions were trained too.
        adjustable: whether this file accepts stages and recursions at run time at all.
        parameters: how many numbers were learned.
        sha256: hexadecimal hash of the model file.
        metadata: the whole JSON record in the file (training data, licence, scores, structure).
        change_gating_db: how faint a change to a picture has to be to be held back, as a PSNR; None
            where nothing is. `cmudrn.restoration.Restorer` does it.
        veil_weights: name -> float32 array of the veil estimator's weights; empty where the model
            has none. Engines see windows and do not run it; `cmudrn.restoration.Restorer` does.
    """

    name: str
    network: str
    tasks: tuple[str, ...]
    stages: int
    recursions: int
    elastic: bool
    adjustable: bool
    parameters: int
    sha256: str
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    change_gating_db: float | None = None
    veil_weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)


def receptive_field(network: str, stages: int, recursions: int, fusion_kernel: int = 3) -> int:
    """Return the side in pixels of the window that one output pixel can see.

    DRN: 1 + 4 T (2 S + 1). The others add their fusion head of three convolutions.
    """
    side = 1 + 4 * stages * (2 * recursions + 1)
    return side if network == "drn" else side + 3 * (fusion_kernel - 1)


def check_depth(info: ModelInfo, stages: int | None, recursions: int | None) -> tuple[int, int]:
    """Return the T and S of a call: the model's own where none is asked for.

    Raises:
        InvalidSettingError: no whole numbers, below 1, or different from what a fixed model has.
    """
    depth = (
        info.stages if stages is None else stages,
        info.recursions if recursions is None else recursions,
    )
    if not all(isinstance(value, Integral) for value in depth):
        raise InvalidSettingError(
            f"Stages and recursions are whole numbers, not {depth[0]} and {depth[1]}."
        )
    if info.adjustable and min(depth) < 1:
        raise InvalidSettingError(
            f"Stages and recursions start at 1; they are {depth[0]} and {depth[1]}."
        )
    if not info.adjustable and depth != (info.stages, info.recursions):
        raise InvalidSettingError(
            f"The model {info.name} does not let stages or recursions be chosen."
        )
    return depth
