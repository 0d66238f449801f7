"""Model files: read, checked in full, and described. Every model goes through here first.

Whatever engine runs a model, its file is read here once, and the engine gets these bytes or the
layers made of them; no engine opens a model file itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import ModelFileError
from cmudrn.files import NotRegularError, open_regular
from cmudrn.models.info import VEIL_PREFIX, ModelInfo, check_veil_weights
from cmudrn.models.layers import LayerList, NetworkError
from cmudrn.models.network_graph import NetworkGraph, is_image
from cmudrn.models.onnx_file import Graph, parse_onnx
from cmudrn.models.plain_nodes import without_plain_nodes
from cmudrn.models.protobuf import WireError
from cmudrn.models.record import RecordError, parse_record

RECORD_KEY = "cmudrn"
"""Key of the record in a file's metadata."""
MAX_FILE_BYTES = 512 << 20
"""Size of a model file; 128 million parameters."""
MAX_FOREIGN_KEPT = 64 << 20
"""Size of another project's file up to which its graph is kept, so that images can be tiled."""

_NO_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model file, checked.

    Attributes:
        path: where it was read.
        data: its bytes.
        graph: its graph.
        metadata: its metadata_props.
        sha256: hexadecimal hash of the file.
    """

    path: str
    data: bytes = field(repr=False)
    graph: Graph = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    sha256: str

    def __reduce__(self) -> tuple[Callable[..., ModelFile], tuple[bytes, str]]:
        return parse_model, (self.data, self.path)

    @property
    def own(self) -> bool:
        """Whether it is a model of this project: one with its record."""
        return RECORD_KEY in self.metadata

    @cached_property
    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """Initializer name -> float32 array; float16 is widened, other types are left out."""
        arrays = {name: tensor.array for name, tensor in self.graph.initializers.items()}
        return {
            name: array
            for name, array in arrays.items()
            if array is not None and array.dtype == np.float32
        }


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Return a model file, checked.

    Raises:
        ModelFileError: the file cannot be read, is larger than `MAX_FILE_BYTES`, is damaged, or
            asks for what lies outside of it.
    """
    try:
        with open_regular(path) as file:
            about = os.fstat(file.fileno())
            if about.st_size > MAX_FILE_BYTES:
                raise ModelFileError(
                    f"The model {path} has {about.st_size >> 20} MB; "
                    f"at most {MAX_FILE_BYTES >> 20} are read.",
                    path=path,
                )
            data = file.read(MAX_FILE_BYTES)
    except NotRegularError as error:
        raise ModelFileError(f"The model {path} is not a regular file.", path=path) from error
    except OSError as error:
        raise ModelFileError(
            f"Cannot read the model {path}: {error.strerror}.", path=path
        ) from error
    return parse_model(data, str(path))


def open_model_file(model: str | os.PathLike[str] | ModelFile) -> ModelFile:
    """Return a model file from its path; one that is open already comes back as it is.

    Raises:
        ModelFileError: as `read_model_file`.
    """
    return model if isinstance(model, ModelFile) else read_model_file(model)


def parse_model(data: bytes, path: str) -> ModelFile:
    """Return the bytes of a model file, checked.

    Raises:
        ModelFileError: as `read_model_file`.
    """
    try:
        file = parse_onnx(data)
    except WireError as error:
        raise ModelFileError(f"{path} is not a usable ONNX model: {error}.", path=path) from error
    return ModelFile(path, data, file.graph, file.metadata, hashlib.sha256(data).hexdigest())


def make_info(model: ModelFile) -> ModelInfo:
    """Return what a model is, with its network where it can be described as layers.

    Raises:
        ModelFileError: the record is damaged or of another format, the network is none that this
            program describes, or (of another project's file) takes no single image.
    """
    return _own_info(model) if model.own else _foreign_info(model)


def _own_info(model: ModelFile) -> ModelInfo:
    try:
        record = parse_record(model.metadata[RECORD_KEY])
        veil = {
            name.removeprefix(VEIL_PREFIX): array
            for name, array in model.tensors.items()
            if name.startswith(VEIL_PREFIX)
        }
        if bool(veil) != (record.thumbnail is not None):
            raise RecordError("it and the weights disagree about a veil estimator")
        check_veil_weights(veil)
    except (RecordError, NetworkError) as error:
        raise ModelFileError(
            f"The record inside the model {model.path} is damaged: {error}.", path=model.path
        ) from error
    network = NetworkGraph(without_plain_nodes(model.graph))
    info = ModelInfo(
        name=record.name,
        network=record.network,
        tasks=record.tasks,
        stages=record.stages,
        recursions=record.recursions,
        elastic=record.elastic,
        adjustable=network.adjustable,
        parameters=record.parameters,
        sha256=model.sha256,
        metadata=record.metadata,
        change_gating_db=record.change_gating_db,
        veil_weights=veil,
        graph=network,
    )
    try:
        _check_outputs(network.unroll(record.stages, record.recursions), record.tasks)
    except NetworkError as error:
        raise ModelFileError(
            f"The network in the model {model.path} cannot be run: {error}.", path=model.path
        ) from error
    return info


def _check_outputs(layers: LayerList, tasks: tuple[str, ...]) -> None:
    """Refuse a network that does not return what its record says."""
    found = set(layers.outputs)
    if found != {"restored"} and found != {"restored", *tasks}:
        raise NetworkError(f"its outputs are {', '.join(sorted(found))[:100]}")


def _foreign_info(model: ModelFile) -> ModelInfo:
    graph = model.graph
    if len(graph.inputs) != 1:
        raise ModelFileError(
            f"The model {model.path} has {len(graph.inputs)} image inputs, not one.",
            path=model.path,
        )
    entry = graph.inputs[0]
    if not is_image(entry):
        raise ModelFileError(
            f"The model {model.path} takes an input of shape {entry.shape}; "
            "an image input is float32 of shape (N, 3, H, W).",
            path=model.path,
        )
    loops = _NO_LOOPS & {node.operator for node in graph.all_nodes()}
    if loops:
        raise ModelFileError(
            f"The model {model.path} is of another project and has loops.", path=model.path
        )
    network = (
        NetworkGraph(without_plain_nodes(graph)) if len(model.data) <= MAX_FOREIGN_KEPT else None
    )
    try:
        if network:
            network.unroll(1, 1)
    except NetworkError:
        network = None
    return ModelInfo(
        name=Path(model.path).stem,
        network="other",
        tasks=(),
        stages=0,
        recursions=0,
        elastic=False,
        adjustable=False,
        parameters=0,
        sha256=model.sha256,
        graph=network,
    )
