"""A model file's tensors in the order in which the compiled library reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.engines.native.library import NativeUnavailableError
from cmudrn.models.model_file import ModelFile

CHANNELS = 16
MAX_BRANCHES = 4
POSITIONS = ("in", "rb1", "rb2", "rec", "img")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NativeWeights:
    """One network for the compiled library.

    Attributes:
        branches: how many.
        fused: whether it has a fusion head.
        fusion_skip: whether the head adds the mean of the estimates.
        relu_output: whether a ReLU follows the last convolution.
        numbers: every learned number, in the order of cpp/network.h.
    """

    branches: int
    fused: bool
    fusion_skip: bool
    relu_output: bool
    numbers: Floats


def native_weights(model: ModelFile, record: Mapping[str, Any]) -> NativeWeights:
    """Return a model's numbers for the compiled library.

    Args:
        model: the file.
        record: what the file says about itself.

    Raises:
        NativeUnavailableError: the network is of another kind or width.
    """
    kind = record.get("network")
    fused = kind == "cmudrn"
    branches = len(record["tasks"]) if fused else 1
    if kind not in ("cmudrn", "drn") or not 1 <= branches <= MAX_BRANCHES:
        raise NativeUnavailableError(f"The native engine does not run the network in {model.path}.")
    fusion = record.get("fusion", {})
    parts: list[Floats] = []
    for branch in range(branches):
        parts += _branch(model, f"branches.{branch}." if fused else "")
    parts += [stitch_matrix(model, record, position, branches) for position in POSITIONS]
    if fused:
        parts += _convolution(model, "fusion.conv1", 3 * branches, CHANNELS)
        parts += _convolution(model, "fusion.conv2", CHANNELS, CHANNELS)
        parts += _convolution(model, "fusion.conv3", CHANNELS, 3)
    return NativeWeights(
        branches=branches,
        fused=fused,
        fusion_skip=fused and bool(fusion.get("skip", False)),
        relu_output=bool(record.get("relu_output", False)),
        numbers=np.concatenate([part.ravel() for part in parts]),
    )


def _branch(model: ModelFile, prefix: str) -> list[Floats]:
    parts = _convolution(model, f"{prefix}conv_in", 6, CHANNELS)
    for name in ("block1.conv_a", "block1.conv_b", "block2.conv_a", "block2.conv_b"):
        parts += _convolution(model, f"{prefix}{name}", CHANNELS, CHANNELS)
    return parts + _convolution(model, f"{prefix}conv_out", CHANNELS, 3)


def _convolution(model: ModelFile, name: str, inputs: int, outputs: int) -> list[Floats]:
    """Return weights as (out, in, 3, 3) and bias; a 1x1 kernel becomes the middle of a 3x3."""
    weight, bias = (model.tensors.get(f"{name}.{part}") for part in ("weight", "bias"))
    if weight is None or bias is None:
        raise NativeUnavailableError(f"The model {model.path} has no convolution {name} to run.")
    if weight.shape == (outputs, inputs, 1, 1):
        weight = np.pad(weight, ((0, 0), (0, 0), (1, 1), (1, 1)))
    if weight.shape != (outputs, inputs, 3, 3) or bias.shape != (outputs,):
        raise NativeUnavailableError(
            f"The native engine runs {CHANNELS} features, not the {name} of {model.path}, "
            f"whose shape is {weight.shape}."
        )
    return [weight, bias]


def stitch_matrix(
    model: ModelFile, record: Mapping[str, Any], position: str, branches: int
) -> Floats:
    """Return one cross-stitch unit as (branches, branches, 16): out_i = sum_j matrix[i, j] h_j.

    Raises:
        NativeUnavailableError: the model lacks the unit's numbers.
    """
    settings = record.get("cross_stitch", {})
    matrix = np.zeros((branches, branches, CHANNELS), np.float32)
    matrix[range(branches), range(branches)] = 1
    if branches == 1 or settings.get("kind") == "off" or position not in settings["positions"]:
        return matrix
    if settings["kind"] == "fixed":
        own = settings["a"]
        matrix[:] = (1 - own) / (branches - 1)
        matrix[range(branches), range(branches)] = own
        return matrix
    learned = model.tensors.get(f"stitches.{position}.matrix")
    channels = 3 if position == "img" else CHANNELS
    if learned is None or learned.shape != (branches, branches, channels):
        raise NativeUnavailableError(f"The model {model.path} has no stitch {position} to run.")
    matrix[:, :, :channels] = learned
    return matrix
