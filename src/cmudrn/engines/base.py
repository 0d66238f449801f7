"""What every engine is: one exported network that restores one batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.info import ModelInfo

Batch = NDArray[np.float32]
"""(B, 3, H, W) float32, RGB, degraded or restored, nominally in [0, 1]."""


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
    def info(self) -> ModelInfo:
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


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
