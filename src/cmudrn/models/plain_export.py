"""A model file for the runtimes of other programs: one input, no loops, a fixed depth."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cmudrn.errors import InvalidSettingError, ModelFileError
from cmudrn.files import atomic_file, check_target
from cmudrn.models.darktable import DARKTABLE_SUFFIX, pack_for_darktable
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.layers import LayerList
from cmudrn.models.model_file import make_info, read_model_file
from cmudrn.models.onnx_writer import needed_opset, write_onnx
from cmudrn.models.record import FORMAT
from cmudrn.models.registry import find_model

MAX_SIDE = 1 << 16
"""Pixels of a fixed side."""


@dataclass(frozen=True)
class PlainFile:
    """A plain file that was written.

    Attributes:
        info: of the model that it was made of.
        depth: T and S that it is unrolled at.
        opset: version of the operator set that a host has to know.
    """

    info: ModelInfo
    depth: tuple[int, int]
    opset: int


def export_plain(
    model: str | os.PathLike[str],
    target: Path,
    *,
    stages: int | None = None,
    recursions: int | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> PlainFile:
    """Write a model as a plain ONNX file, or as a darktable package of one, and say what it is.

    The file has one input, `degraded`, (1 or N, 3, H, W) float32 RGB in [0, 1], and one output,
    `restored`, of that shape and range. H and W are any: the file pads to what its network needs,
    and crops. The record of the model is inside. Tiling, change gating and the veil estimator are
    not part of the network: a host that runs the file does without them.

    Args:
        model: a shipped model's name, or the path of a model file.
        target: the .onnx file to write, or a .dtmodel package with it for darktable.
        stages: T that the file is unrolled at; None is the model's own.
        recursions: S, likewise.
        size: (H, W) of a fixed input; None for any size and any number of images.
        overwrite: whether a file that exists is replaced.

    Raises:
        ModelFileError: the model is missing, damaged, or of operators that are not known.
        InvalidSettingError: the model does not take the depth or the size.
        TargetError: the target exists already, or cannot be written.
    """
    path = find_model(model)
    if target.suffix.lower() not in (".onnx", DARKTABLE_SUFFIX):
        raise InvalidSettingError(
            f"A plain model is an .onnx file or a {DARKTABLE_SUFFIX} package, not {target.name}.",
            setting="target",
        )
    check_target(path, target, overwrite)
    info = make_info(read_model_file(path))
    depth = check_depth(info, stages, recursions)
    layers = info.layers(*depth)
    if layers is None:
        raise ModelFileError(f"The network in {path} has operators that are not known.", path=path)
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise InvalidSettingError(
            f"Sides of a fixed size are 1 to {MAX_SIDE}, not {size[0]} and {size[1]}.",
            setting="size",
            value=size,
        )
    layers = layers.restricted(["restored"] if info.network != "other" else [*layers.outputs][:1])
    layers = LayerList(layers.layers, {"restored": next(iter(layers.outputs.values()))})
    record = _record(info, layers, depth)
    data = write_onnx(layers, record=record, size=size, batch=1 if size else 0, plain=True)
    if target.suffix.lower() == DARKTABLE_SUFFIX:
        data = pack_for_darktable(data, info)
    with atomic_file(target) as file:
        file.write(data)
    return PlainFile(info, depth, needed_opset(layers))


def _record(info: ModelInfo, layers: LayerList, depth: tuple[int, int]) -> str:
    """Return the record for a network of one depth, without its veil estimator."""
    if info.network == "other":
        return ""
    veil = sum(array.size for array in info.veil_weights.values())
    kept = {key: value for key, value in info.metadata.items() if key != "context"}
    kept |= {
        "format": FORMAT,
        "stages": depth[0],
        "recursions": depth[1],
        "elastic": False,
        "parameters": info.parameters - veil,
    }
    kept["macs_per_pixel"] = layers.multiply_adds_per_pixel
    return json.dumps(kept, sort_keys=True)
