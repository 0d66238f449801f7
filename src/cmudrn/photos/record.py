"""The record beside a restored photo: its schema, read strictly, since anybody may have made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from cmudrn.errors import FileError
from cmudrn.image import read_bytes

FORMAT = 1
"""Of the record; docs/evidence.md describes it."""

MAX_RECORD_BYTES = 1 << 20
"""Larger records are refused; one has a few kilobytes."""


class RecordError(FileError):
    """A record that is missing, damaged, or of another format."""


@dataclass(frozen=True, kw_only=True)
class ProgramRecord:
    """What made the result: name and version, and library -> version."""

    name: str
    version: str
    libraries: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file: its path from the record's folder, its size, and its hash in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """A model: its name, the shipped name or the path of its file, whether it ships, its hash."""

    name: str
    path: str
    shipped: bool
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SettingsRecord:
    """What decides the bytes of a result; see `PhotoSettings` and `Restorer`."""

    engine: str
    instruction_set: str = ""  # early records do not tell, nor do engines that choose by themselves
    threads: int | None
    strength: float
    stages: int
    recursions: int
    tile_pixels: int
    change_gating: bool = False  # records from before there was one
    dehazing: bool = False
    format: str | None
    quality: int | None
    subsampling: str
    side_by_side: bool = False


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """The machine: its name, system, processor, number of cores, and Python's version."""

    name: str
    system: str
    processor: str
    cores: int | None
    python: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a result came about.

    Attributes:
        format: of the record.
        made: when, UTC, ISO 8601.
        program: what made it.
        input: the source.
        output: the result.
        model: what was run.
        settings: how.
        arguments: the command line.
        machine: where.
        statement: what the result does not show; "" in early records.
        changed: share of the pixels that were changed strongly; None in early records.
    """

    format: int
    made: str
    program: ProgramRecord
    input: FileRecord
    output: FileRecord
    model: ModelRecord
    settings: SettingsRecord
    arguments: tuple[str, ...]
    machine: MachineRecord
    statement: str = ""
    changed: float | None = None


def encode_record(record: Record) -> bytes:
    """Return a record as the bytes of its file."""
    return json.dumps(asdict(record), indent=2).encode() + b"\n"


def read_record(path: Path) -> Record:
    """Return the record in a file.

    Raises:
        RecordError: it is damaged, of another format, or not as the schema says.
        ImageFileError: it cannot be read; LimitExceededError: it is larger than a record.
    """
    data = read_bytes(path, MAX_RECORD_BYTES)
    try:
        value = json.loads(data)
        found = value["format"]
        if found == FORMAT:
            settings = value["settings"]
            if "restraint" in settings:  # as early records call it
                value["settings"] = {**settings, "change_gating": settings["restraint"]}
            record: Record = _parse(Record, value)
            return record
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"The record {path} is damaged.", path=path) from error
    sentence = f"The record {path} has format {found!r:.20}; this version reads {FORMAT}."
    raise RecordError(sentence, path=path)


def _parse(schema: Any, value: Any) -> Any:
    """Return a JSON value as a type says.

    Raises:
        TypeError: it is of another type.
        KeyError: a key is missing.
    """
    if is_dataclass(schema):
        hints = get_type_hints(schema)
        given = {
            field.name: _parse(hints[field.name], value[field.name])
            for field in fields(schema)
            if field.name in value or field.default is MISSING
        }
        return schema(**given)  # type: ignore[operator]
    origin, arguments = get_origin(schema), get_args(schema)
    if origin in (Union, UnionType):
        (inner,) = (one for one in arguments if one is not NoneType)
        return None if value is None else _parse(inner, value)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(arguments[0], one) for one in value)
    if origin is Mapping and isinstance(value, dict):
        return {key: _parse(arguments[1], one) for key, one in value.items()}
    if schema is float and type(value) is int:
        return float(value)
    if type(value) is not schema:
        raise TypeError(f"{schema} expected")
    return value
