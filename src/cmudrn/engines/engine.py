"""What every engine is: one exported network that restores one batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.context import Context
from cmudrn.errors import CmudrnError

Batch = NDArray[np.float32]
"""(B, 3, H, W) float32, RGB, degraded or restored, nominally in [0, 1]."""


@dataclass(frozen=True)
class EngineInfo:
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
        restraint_db: how faint a change to a picture has to be to be held back, as a PSNR; None
            where nothing is. `cmudrn.restore.Restorer` does it.
        context: the branch that judges the veil over a whole picture, or None. Engines do not run
            it, for they see windows; `cmudrn.restore.Restorer` does.
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
    restraint_db: float | None = None
    context: Context | None = field(default=None, repr=False)


@dataclass(frozen=True)
class EngineOutputs:
    """What an engine returns for a batch.

    Attributes:
        restored: (B, 3, H, W) float32, the fused estimate, not clipped.
        branches: task -> (B, 3, H, W) float32, each branch's own last estimate, not clipped;
            empty when branches were not asked for.
    """

    restored: Batch
    branches: Mapping[str, Batch]


class Engine(Protocol):
    """Restores one batch. Engines are stateless between calls and safe to call from one thread."""

    @property
    def info(self) -> EngineInfo:
        """What the model file says about itself."""
        ...

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch.

        Args:
            batch: (B, 3, H, W) float32 RGB in [0, 1], any H and W from 1 up.
            branches: also return each branch's estimate.
            stages: T for this call; None is the model's own.
            recursions: S for this call; None is the model's own.
        """
        ...


def receptive_field(network: str, stages: int, recursions: int, fusion_kernel: int = 3) -> int:
    """Return the side in pixels of the window that one output pixel can see.

    DRN: 1 + 4 T (2 S + 1). The others add their fusion head of three convolutions.
    """
    side = 1 + 4 * stages * (2 * recursions + 1)
    return side if network == "drn" else side + 3 * (fusion_kernel - 1)


def check_depth(info: EngineInfo, stages: int | None, recursions: int | None) -> tuple[int, int]:
    """Return the T and S of a call: the model's own where none is asked for.

    Raises:
        CmudrnError: no whole numbers, below 1, or different from what a fixed model has.
    """
    depth = (
        info.stages if stages is None else stages,
        info.recursions if recursions is None else recursions,
    )
    if not all(isinstance(value, Integral) for value in depth):
        raise CmudrnError(
            f"Stages and recursions are whole numbers, not {depth[0]} and {depth[1]}."
        )
    if info.adjustable and min(depth) < 1:
        raise CmudrnError(f"Stages and recursions start at 1; they are {depth[0]} and {depth[1]}.")
    if not info.adjustable and depth != (info.stages, info.recursions):
        raise CmudrnError(f"The model {info.name} does not let stages or recursions be chosen.")
    return depth


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
