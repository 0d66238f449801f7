"""What a model file holds, read without the `onnx` package.

An ONNX file is one Protocol Buffers message. Only three things in it are wanted here: the learned
tensors, the names of the graph's inputs, and the project's own record; the rest is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError
from cmudrn.image.resampling import SIDE
from cmudrn.models.info import VEIL_PREFIX, ModelInfo

FORMAT = 1
"""The version of the record that this program reads (docs/file-formats.md)."""

RENAMED_KEYS = {"text_literal": "relu_output", "restraint_db": "change_gating_db"}
"""Keys of the record in older files -> what they are called today."""

_FIRST_SIDE = 128  # of thumbnails, in files from before the record said it
_FLOAT = 1  # TensorProto.DataType
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class ModelFile:
    """The parts of an ONNX file that an engine of ours needs.

    Attributes:
        path: where it was read.
        tensors: initializer name -> float32 array; initializers of other types are left out.
        inputs: names of the graph's inputs.
        metadata: the file's metadata_props.
        sha256: hexadecimal hash of the file.
    """

    path: str
    tensors: Mapping[str, NDArray[np.float32]]
    inputs: frozenset[str]
    metadata: Mapping[str, str]
    sha256: str


class _Damaged(ValueError):
    """The bytes are not the message that they should be."""


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Return the tensors, inputs and metadata of an ONNX file.

    Raises:
        CmudrnError: the file cannot be read or is damaged.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CmudrnError(f"Cannot read the model {path}: {error.strerror}.") from error
    return parse_model(data, str(path))


def parse_model(data: bytes, path: str) -> ModelFile:
    """Return the tensors, inputs and metadata of an ONNX file's bytes.

    Raises:
        CmudrnError: they are damaged.
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    inputs: set[str] = set()
    metadata: dict[str, str] = {}
    try:
        for number, value in _fields(memoryview(data)):
            if number == 7:  # ModelProto.graph
                _read_graph(_message(value), tensors, inputs)
            elif number == 14:  # ModelProto.metadata_props
                entry = dict(_fields(_message(value)))
                metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    except ValueError as error:  # _Damaged, or text that is not UTF-8
        raise CmudrnError(f"{path} is not a usable ONNX model: {error}.") from error
    return ModelFile(path, tensors, frozenset(inputs), metadata, hashlib.sha256(data).hexdigest())


def make_info(model: ModelFile) -> ModelInfo:
    """Return what a model of this project says about itself.

    Raises:
        CmudrnError: the record is damaged, or of another format.
    """
    path = model.path
    try:
        record = _with_present_names(json.loads(model.metadata["cmudrn"]))
        if record["format"] != FORMAT:
            raise CmudrnError(
                f"The model {path} has format {record['format']}; "
                f"this version of cmudrn reads format {FORMAT}."
            )
        thumbnail = record.get("context", {"thumbnail": SIDE}).get("thumbnail", _FIRST_SIDE)
        if thumbnail != SIDE:
            raise CmudrnError(
                f"The context branch in the model {path} sees thumbnails of {thumbnail} pixels; "
                f"this version of cmudrn makes them of {SIDE}."
            )
        decibels = record.get("change_gating_db")
        return ModelInfo(
            name=str(record["name"]),
            network=str(record["network"]),
            tasks=tuple(record["tasks"]),
            stages=int(record["stages"]),
            recursions=int(record["recursions"]),
            elastic=bool(record["elastic"]),
            adjustable={"stages", "recursions"} <= model.inputs,
            parameters=int(record["parameters"]),
            sha256=model.sha256,
            metadata=record,
            change_gating_db=None if decibels is None else float(decibels),
            veil_weights={
                name.removeprefix(VEIL_PREFIX): array
                for name, array in model.tensors.items()
                if name.startswith(VEIL_PREFIX)
            },
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CmudrnError(f"The record inside the model {path} is damaged.") from error


def _with_present_names(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the keys of older files renamed to today's."""
    return {RENAMED_KEYS.get(key, key): value for key, value in record.items()}


def _read_graph(
    data: memoryview, tensors: dict[str, NDArray[np.float32]], inputs: set[str]
) -> None:
    for number, value in _fields(data):
        if number == 5:  # GraphProto.initializer
            name, tensor = _read_tensor(_message(value))
            if tensor is not None:
                tensors[name] = tensor
        elif number == 11:  # GraphProto.input
            inputs.add(_text(dict(_fields(_message(value))).get(1, b"")))


def _read_tensor(data: memoryview) -> tuple[str, NDArray[np.float32] | None]:
    name, kind, shape, content = "", 0, list[int](), bytearray()
    for number, value in _fields(data):
        if number == 1:  # TensorProto.dims: one, or several packed
            shape += [value] if isinstance(value, int) else _varints(value)
        elif number == 2:  # data_type
            kind = _whole(value)
        elif number in (4, 9):  # float_data and raw_data: both little-endian float32
            content += _message(value)
        elif number == 8:
            name = _text(value)
        elif number in (13, 14) and value:  # external_data, data_location
            raise _Damaged(f"its tensor {name!r} lies in another file")
    if kind != _FLOAT:
        return name, None
    if len(shape) > _MAX_DIMENSIONS or 4 * _product(shape) != len(content):
        raise _Damaged(f"its tensor {name!r} does not hold what its shape {shape} says")
    return name, np.frombuffer(bytes(content), "<f4").astype(np.float32).reshape(shape)


def _product(shape: list[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield each field's number and value: an int for a varint, else its bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        match key & 7:
            case 0:
                value, position = _varint(data, position)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(data, position)
            case 5:
                size = 4
            case kind:
                raise _Damaged(f"it holds a field of unknown kind {kind}")
        if position + size > len(data):
            raise _Damaged("it ends too early")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            raise _Damaged("it ends too early")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Damaged("it holds a number that is too long")


def _varints(value: Any) -> list[int]:
    data, position, numbers = _message(value), 0, []
    while position < len(data):
        number, position = _varint(data, position)
        numbers.append(number)
    return numbers


def _message(value: Any) -> memoryview:
    if isinstance(value, int):
        raise _Damaged("it holds a number where data should be")
    return memoryview(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise _Damaged("it holds data where a number should be")
    return value


def _text(value: Any) -> str:
    return bytes(_message(value)).decode("utf-8")
