"""The models that ship inside the package, described by weights/weights.toml."""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmudrn.errors import InvalidSettingError, ModelFileError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ShippedModel:
    """One table of weights.toml.

    Attributes:
        name: what `--model` calls it.
        path: the model file.
        sha256: hexadecimal hash that the file must have.
        licence: SPDX name of the weights' licence.
        description: one sentence.
        trained_on: the data it learned from, one sentence.
        preset: configuration that trained it.
        scores: set -> measure -> value, as `scores["rain100l_40"]["psnr_db"]`; input_psnr_db is
            the score of the degraded images themselves. Source: docs/results/models.md.
    """

    name: str
    path: Path
    sha256: str
    licence: str
    description: str
    trained_on: str
    preset: str = ""
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def shipped_models(folder: Path = WEIGHTS) -> dict[str, ShippedModel]:
    """Return the shipped models by name, in the order of weights.toml.

    Raises:
        ModelFileError: weights.toml is damaged.
    """
    try:
        tables = tomllib.loads((folder / "weights.toml").read_text(encoding="utf-8"))
        return {name: _shipped(name, table, folder) for name, table in tables.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"The list of shipped models is damaged: {error}.") from error


def _shipped(name: str, table: dict[str, Any], folder: Path) -> ShippedModel:
    return ShippedModel(name=name, path=folder / table.pop("file"), **table)


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the model file that a shipped model's name, or a path, stands for.

    Raises:
        ModelFileError: there is neither, or the path may not be looked at.
        InvalidSettingError: it is neither text nor a path.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        kind = type(name_or_path).__name__
        sentence = f"A model is a shipped model's name or the path of a file, not a {kind}."
        raise InvalidSettingError(sentence, setting="model", value=name_or_path)
    text = os.fspath(name_or_path)
    shipped = shipped_models()
    if text in shipped:
        return _undamaged(shipped[text])
    path = Path(text)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    if path.suffix or path.name != text:
        raise ModelFileError(f"There is no model file {text}.", path=text)
    near = difflib.get_close_matches(text, shipped, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(shipped) or 'none'}."
    raise ModelFileError(f"There is no model {text!r}; {known}", path=text)


def _undamaged(model: ShippedModel) -> Path:
    try:
        found = hashlib.sha256(model.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(
            f"The shipped model {model.path} cannot be read.", path=model.path
        ) from error
    if found != model.sha256:
        raise ModelFileError(
            f"The shipped model {model.path} is damaged: its hash is not the listed.",
            path=model.path,
        )
    return model.path
