"""Presets and settings: TOML and `KEY=VALUE` texts to tables, and tables to checked configurations.

A preset names only what differs from the defaults, or from the preset it `extends`. An unknown key
is an error that names its nearest match. The configurations themselves are defined where they are
used: `cmudrn.networks.config`, `cmudrn.training.config`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from cmudrn.errors import FileError, InvalidSettingError

PRESETS = Path(__file__).parent / "presets"

RENAMED_SETTINGS = {"text_literal": "relu_output", "context": "veil_estimator"}
"""Settings in checkpoints of older versions -> their present names."""
RENAMED_KINDS = {"context": "veil-estimator"}
"""Kinds of networks, likewise."""


class Table(BaseModel):
    """A table of a preset: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Checked = TypeVar("Checked", bound=Table)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with change laid over it, table by table."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def read_preset(name: str) -> dict[str, Any]:
    """Return a preset's table, its `extends` chain merged in.

    Args:
        name: a shipped preset's name, or the path of a .toml file.

    Raises:
        FileError: there is no such preset, or it is not TOML.
        InvalidSettingError: it extends itself, or no preset.
    """
    own = read_toml(name, PRESETS, "preset").get("name", Path(name).stem)
    return {**read_extended(name, PRESETS, "preset"), "name": own}


def read_extended(
    name: str, folder: Path, kind: str, extended_by: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the table of a TOML file laid over the one that its `extends` names, and so on.

    Args:
        name: of a file in the folder, without its suffix, or the path of a .toml file.
        folder: where the shipped files are.
        kind: what to call such a file in an error.
        extended_by: files that are being read and extend this one.

    Raises:
        FileError: there is no such file, or it is not TOML.
        InvalidSettingError: it extends itself, or something that is no name.
    """
    if name in extended_by:
        raise InvalidSettingError(
            f"The {kind} {name!r} extends itself.", setting="extends", value=name
        )
    table = read_toml(name, folder, kind)
    parent = table.pop("extends", "")
    if not isinstance(parent, str):
        raise InvalidSettingError(
            f"The {kind} {name!r} extends {parent!r}, which is not a {kind}'s name.",
            setting="extends",
            value=parent,
        )
    if not parent:
        return table
    return merge(read_extended(parent, folder, kind, (*extended_by, name)), table)


def read_toml(name: str, folder: Path, kind: str) -> dict[str, Any]:
    """Return the table of a shipped TOML file, or of one given by its path.

    Args:
        name: of a file in the folder, without its suffix, or the path of a .toml file.
        folder: where the shipped files are.
        kind: what to call such a file in an error.

    Raises:
        FileError: there is no such file, or it is not TOML.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        known = sorted(entry.stem for entry in folder.glob("*.toml"))
        raise FileError(f"There is no {kind} {name!r}; there are {', '.join(known)}.", path=path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"The {kind} {path} is not valid TOML: {error}.", path=path) from error


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Return `["network.stages=3"]` as `{"network": {"stages": 3}}`; values are TOML.

    Raises:
        InvalidSettingError: a setting is not KEY=VALUE.
    """
    table: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise InvalidSettingError(f"A setting is written KEY=VALUE, not {setting!r}.")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a bare word is a string
        nested: Any = parsed
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        table = merge(table, nested)
    return table


def validate(model: type[Checked], table: Mapping[str, Any]) -> Checked:
    """Return a table as a checked, frozen configuration.

    Raises:
        InvalidSettingError: a key is unknown or a value does not fit; the sentence names it.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise _explain(error, model) from error


def with_present_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that an older version recorded, with the present names of settings."""
    renamed: dict[str, Any] = {
        RENAMED_SETTINGS.get(key, key): (
            with_present_names(value) if isinstance(value, Mapping) else value
        )
        for key, value in table.items()
    }
    network = renamed.get("network")
    if isinstance(network, dict) and network.get("kind") in RENAMED_KINDS:
        network["kind"] = RENAMED_KINDS[network["kind"]]
    return renamed


def config_json(config: BaseModel) -> str:
    """Return the fully merged configuration as JSON with sorted keys."""
    return json.dumps(config.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True)


def _explain(error: ValidationError, model: type[BaseModel]) -> InvalidSettingError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    value = first.get("input")
    if first["type"] != "extra_forbidden":
        message = first["msg"].removeprefix("Value error, ")
        subject = f"The setting {where} is" if where else "The settings are"
        sentence = f"{subject} wrong: {message}."
        return InvalidSettingError(sentence, setting=where, value=value)
    known = _known_keys(model, first["loc"][:-1])
    near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InvalidSettingError(f"There is no setting {where!r}{hint}", setting=where, value=value)


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the names of a table's settings, found by its path from the outermost table."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = {f.alias or name: f for name, f in annotation.model_fields.items()}
            annotation = fields[str(part)].annotation if str(part) in fields else None
        else:  # a table of tables, dict[str, Table]
            annotation = get_args(annotation)[-1]
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return []
    return [f.alias or name for name, f in annotation.model_fields.items()]
