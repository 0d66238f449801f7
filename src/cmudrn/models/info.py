"""What a model file says about itself, as every room above reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError
from cmudrn.models.layers import LayerList, NetworkError
from cmudrn.models.network_graph import MAX_DEPTH, NetworkGraph

DEPTH_MODEL = "cmudrn-25k"
"""A shipped model whose stages and recursions may be chosen; sentences name it."""
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
        graph: the network, to be unrolled at a depth by `layers`; None where it is unknown or no
            list of known layers.
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
    graph: NetworkGraph | None = field(default=None, repr=False, compare=False)

    def layers(self, stages: int | None = None, recursions: int | None = None) -> LayerList | None:
        """Return the network as a list of layers, or None where it is not known as one.

        Args:
            stages: T; None is the model's own.
            recursions: S; None is the model's own.

        Raises:
            InvalidSettingError: the model does not take this depth.
        """
        depth = check_depth(self, stages, recursions)
        return self.graph.unroll(*depth) if self.graph else None

    def receptive_radius(
        self, stages: int | None = None, recursions: int | None = None
    ) -> int | None:
        """Return how far an output pixel can see, in pixels; None where that is not known.

        Args:
            stages: T; None is the model's own.
            recursions: S; None is the model's own.

        Raises:
            InvalidSettingError: the model does not take this depth.
        """
        layers = self.layers(stages, recursions)
        if layers is not None:
            return layers.receptive_radius
        if self.network == "other":
            return None
        kernel = self.metadata.get("fusion", {}).get("kernel", 3)
        return receptive_field(self.network, *check_depth(self, stages, recursions), kernel) // 2

    @property
    def alignment(self) -> int:
        """What the sides and the corner of a window have to be multiples of; 1 for any."""
        layers = self.layers()
        return layers.alignment if layers else 1


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
    if info.adjustable and not 1 <= min(depth) <= max(depth) <= MAX_DEPTH:
        raise InvalidSettingError(
            f"Stages and recursions start at 1 and end at {MAX_DEPTH}; "
            f"they are {depth[0]} and {depth[1]}."
        )
    if not info.adjustable and depth != (info.stages, info.recursions):
        raise InvalidSettingError(fixed_depth_sentence(info))
    return depth


def fixed_depth_sentence(info: ModelInfo) -> str:
    """Return what a caller is told who chooses the depth of a model that has one only."""
    return (
        f"The model {info.name} has a fixed depth; "
        f"{DEPTH_MODEL} lets stages and recursions be chosen."
    )


def check_veil_weights(weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse weights that are not those of a whole veil estimator.

    Raises:
        NetworkError: a layer is missing, or has another shape than it should.
    """
    if not weights:
        return
    features = len(weights.get("enter.bias", ()))
    wide = 2 * features
    shapes: dict[str, tuple[int, ...]] = {
        "enter": (features, 9, 3, 3),
        "reduce": (wide, features, 3, 3),
        "look": (wide, wide, 3, 3),
        "judge": (wide, wide, 3, 3),
        "thickness": (1, wide, 1, 1),
        "gather": (wide, 2 * wide),
        "spread": (wide, wide),
        "gate": (1, wide),
        "airlight": (3, wide),
    }
    wanted = {f"{name}.weight": shape for name, shape in shapes.items()}
    wanted |= {f"{name}.bias": shape[:1] for name, shape in shapes.items()}
    found = {name: array.shape for name, array in weights.items()}
    if found != wanted or not all(np.isfinite(array).all() for array in weights.values()):
        raise NetworkError("the weights of its veil estimator are not whole")
