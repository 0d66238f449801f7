"""Hashes of what a run depends on besides its configuration: its data and the program's code."""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cmudrn
from cmudrn.datasets import FileDataset, PairFiles, RenderedDataset, open_dataset
from cmudrn.datasets.doctor import fingerprint
from cmudrn.datasets.folders import data_path
from cmudrn.training.config import DataConfig
from cmudrn.training.data.clean_patches import list_pictures

TRAINING = ("training.loop", "training.data.sources")
"""Modules that decide the weights that a run ends with, with all that they import from `ROOMS`."""
SCORING = ("evaluation.metrics", "datasets.dataset", "weather.presets")
"""Modules that decide what those weights are scored on and how, likewise."""
ROOMS = ("networks", "training", "weather", "evaluation")
"""Their modules `config` are left out: the whole configuration is compared. Code that reads files,
exports or runs models is left out too: tests compare it with references."""
EQUIVALENT = Path(__file__).parent / "equivalent_code.toml"
"""Fingerprints of earlier code that was shown to give the same results as today's."""


def fingerprint_data(config: DataConfig) -> str:
    """Return a hash of every file that a run may train on.

    Raises:
        CmudrnError: data are missing.
    """
    texts = sorted({s.dataset for s in config.sources.values() if s.dataset is not None})
    clean = config.clean if any(s.weather for s in config.sources.values()) else None
    folders = () if clean is None else (clean, *config.also_clean)
    return _fingerprint_data(folders, tuple(texts), config.veil_estimator)


@lru_cache(maxsize=8)
def _fingerprint_data(
    folders: tuple[str, ...], texts: tuple[str, ...], estimator: str | None
) -> str:
    files = [pair_with_itself(p) for folder in folders for p in list_pictures(data_path(folder))]
    for text in texts:
        files += dataset_files(text)
    files += [] if estimator is None else [pair_with_itself(Path(estimator))]
    return fingerprint(files)


def dataset_files(text: str) -> list[PairFiles]:
    """Return the files of a dataset by its description.

    Raises:
        CmudrnError: there is no such dataset.
    """
    dataset = open_dataset(text)
    if isinstance(dataset, FileDataset):
        return list(dataset.files)
    assert isinstance(dataset, RenderedDataset)
    return list(dataset.clean)


def pair_with_itself(path: Path) -> PairFiles:
    """Return a clean picture as a pair without a degraded one."""
    return PairFiles(path.name, path, path)


@lru_cache(maxsize=2)
def fingerprint_code(roots: tuple[str, ...] = TRAINING) -> str:
    """Return a hash of the code of some modules; comments and docstrings do not count.

    Args:
        roots: `TRAINING` or `SCORING`.
    """
    total = hashlib.sha256()
    for path in sorted(reached_modules(roots)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            _drop_docstring(node)
        total.update(_describe(tree).encode())
    return total.hexdigest()


def is_today(fingerprint: str | None, roots: tuple[str, ...] = TRAINING) -> bool:
    """Return whether a recorded fingerprint of code is that of today's code or of equivalent code.

    The list of equivalent fingerprints holds for the one fingerprint it was made for: it counts
    for nothing as soon as the code changes again.

    Args:
        fingerprint: as a run recorded it; None where it recorded none.
        roots: `TRAINING` or `SCORING`.
    """
    today = fingerprint_code(roots)
    if fingerprint == today:
        return True
    known = read_equivalent_code()["training" if roots == TRAINING else "scoring"]
    return bool(known["today"] == today and fingerprint in known["earlier"])


@lru_cache(maxsize=1)
def read_equivalent_code() -> dict[str, dict[str, Any]]:
    """Return the tables of `EQUIVALENT`: "training" and "scoring", each with today and earlier."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list):
        kept = [line for line in body if not _is_text(line)]
        node.body = kept  # type: ignore[attr-defined]


def _describe(node: object) -> str:
    """Return a syntax tree as text that every version of Python gives alike.

    `ast.dump` also names fields that are empty, and newer versions have more of these.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_describe, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    inner = ",".join(f"{name}={_describe(value)}" for name, value in fields)
    return f"{type(node).__name__}({inner})"


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def reached_modules(roots: tuple[str, ...]) -> set[Path]:
    """Return the files of some modules and of all that they import from `ROOMS`."""
    modules = list(roots)
    assert all(_file(module) for module in modules), f"a module of {modules} is not there"
    reached: set[Path] = set()
    while modules:
        path = _file(modules.pop())
        if path is not None and path not in reached:
            reached.add(path)
            modules += _imports(path)
    return reached


def _file(module: str) -> Path | None:
    """Return a module's file; none for `config` and for a room, whose `__init__` has no code."""
    if module.endswith(".config"):
        return None
    path = Path(cmudrn.__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
    return path if path.is_file() else None


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, module = node.module.partition(".")
            if package == "cmudrn" and module.split(".")[0] in ROOMS:
                yield module
                yield from (f"{module}.{name.name}" for name in node.names)
