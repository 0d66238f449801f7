"""The record that a model file of this project carries about itself: one schema, checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cmudrn.image.resampling import SIDE
from cmudrn.models.network_graph import MAX_DEPTH

FORMAT = 2
"""The version of the record that this program writes (docs/file-formats.md)."""
READ_FORMATS = (1, 2)

RENAMED_KEYS: Mapping[str, str] = {
    "text_literal": "relu_output",
    "restraint_db": "change_gating_db",
}
"""Keys of the record in files of format 1 -> what they are called today."""

MAX_RECORD_BYTES = 1 << 20
MAX_TASKS = 8
MAX_PARAMETERS = 1 << 40
_FIRST_SIDE = 128  # of thumbnails, in files from before the record said it
_TASK = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MAX_NAME = 100


class RecordError(ValueError):
    """A record is not as described; says what is wrong, without the file."""


@dataclass(frozen=True)
class ModelRecord:
    """What a model file of this project says about itself.

    Attributes:
        name: the model's name, 1 to 100 printable characters.
        network: kind of the network, such as "cmudrn" or "drn".
        tasks: the branches' names in order, 1 to 8.
        stages: T that it was trained with, 1 to 64.
        recursions: S, likewise.
        elastic: whether it was trained with other depths too.
        parameters: learned numbers in all.
        licence: of the weights; "" where the record does not say.
        macs_per_pixel: multiply-adds at its own depth; None where the record does not say.
        change_gating_db: how strict change gating is, as a PSNR; None for no gating.
        thumbnail: side of the thumbnail that its veil estimator sees; None without one.
        metadata: the whole record with the present names of its keys.
    """

    name: str
    network: str
    tasks: tuple[str, ...]
    stages: int
    recursions: int
    elastic: bool
    parameters: int
    licence: str = ""
    macs_per_pixel: float | None = None
    change_gating_db: float | None = None
    thumbnail: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_record(text: str) -> ModelRecord:
    """Return the record from its JSON.

    Raises:
        RecordError: it is damaged, of another format, or says what cannot be.
    """
    if len(text) > MAX_RECORD_BYTES:
        raise RecordError("it is longer than a megabyte")
    try:
        loaded = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RecordError("it is not JSON") from error
    if not isinstance(loaded, dict):
        raise RecordError("it is not an object")
    version = loaded.get("format")
    if version not in READ_FORMATS or isinstance(version, bool):
        raise RecordError(f"its format is {_shown(version)}; formats 1 and 2 are read")
    renamed: Mapping[str, str] = RENAMED_KEYS if version == 1 else {}
    record: dict[str, Any] = {renamed.get(key, key): value for key, value in loaded.items()}
    return ModelRecord(
        name=_name(record, "name"),
        network=_network(record),
        tasks=_tasks(record),
        stages=_whole(record, "stages", 1, MAX_DEPTH),
        recursions=_whole(record, "recursions", 1, MAX_DEPTH),
        elastic=_flag(record, "elastic"),
        parameters=_whole(record, "parameters", 0, MAX_PARAMETERS),
        licence=_name(record, "licence") if record.get("licence") else "",
        macs_per_pixel=_positive(record, "macs_per_pixel"),
        change_gating_db=_positive(record, "change_gating_db"),
        thumbnail=_thumbnail(record),
        metadata=record,
    )


def _no_number(text: str) -> None:
    raise ValueError(text)


def _shown(value: object) -> str:
    """Return a value of the record for a sentence: short, on one line."""
    return repr(value)[:40]


def _wrong(key: str, value: object, wanted: str) -> RecordError:
    if value is None:
        return RecordError(f"it has no {key}")
    return RecordError(f"its {key} is {_shown(value)}, not {wanted}")


def _whole(record: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(key, value, f"a whole number from {least} to {most}")
    return value


def _flag(record: Mapping[str, Any], key: str) -> bool:
    value = record.get(key)
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _positive(record: Mapping[str, Any], key: str) -> float | None:
    value = record.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1e15 or not math.isfinite(value):
        raise _wrong(key, value, "a number above 0")
    return float(value)


def _name(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    fits = isinstance(value, str) and 1 <= len(value) <= _MAX_NAME and value.isprintable()
    if not fits:
        raise _wrong(key, value, f"a name of 1 to {_MAX_NAME} printable characters")
    return str(value)


def _network(record: Mapping[str, Any]) -> str:
    value = record.get("network")
    if not isinstance(value, str) or not _TASK.fullmatch(value) or value == "other":
        raise _wrong("network", value, "a kind of network")
    return value


def _tasks(record: Mapping[str, Any]) -> tuple[str, ...]:
    value = record.get("tasks")
    fits = isinstance(value, list) and 1 <= len(value) <= MAX_TASKS
    if not fits or not all(isinstance(task, str) and _TASK.fullmatch(task) for task in value):  # type: ignore[union-attr]
        raise _wrong("tasks", value, f"a list of 1 to {MAX_TASKS} names")
    tasks = tuple(value)  # type: ignore[arg-type]
    if len(set(tasks)) != len(tasks) or {"restored", "fused"} & set(tasks):
        raise _wrong("tasks", value, "a list of different names")
    return tasks


def _thumbnail(record: Mapping[str, Any]) -> int | None:
    """Return the side of the veil estimator's thumbnail, or None without an estimator."""
    estimator = record.get("context")
    if estimator is None:
        return None
    if not isinstance(estimator, dict):
        raise _wrong("context", estimator, "an object")
    side = estimator.get("thumbnail", _FIRST_SIDE)
    if side != SIDE:
        raise RecordError(
            f"its veil estimator sees thumbnails of {_shown(side)} pixels; "
            f"this version makes them of {SIDE}"
        )
    return SIDE
