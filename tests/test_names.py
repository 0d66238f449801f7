"""Names that were replaced by the field's words do not come back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "tools", "benchmarks", "integrations")

OLD_MODULES = frozenset(
    [
        "looks",
        "opening",
        "telling",
        "ahead",
        "joining",
        "parts",
        "clip",
        "steady",
        "restraint",
        "promise",
        "context",
        "averaged",
        "official",
        "ship",
        "start",
        "processes",
        "pictures",
        "structures",
        "exposure",
        "listen",
        "guard",
        "sheet",
    ]
)
"""Modules and packages; many are common words, which other things may be called."""

OLD_NAMES = frozenset(
    [
        "looks",
        "telling",
        "joining",
        "steady",
        "restraint",
        "promise",
        "averaged",
        "official",
        "Lift",
        "Context",
        "judge",
        "SteadyVeil",
        "text_literal",
        "enter",
        "leave",
        "look_at",
        "find_losses",
        "lost_in",
        "Stamp",
        "Latest",
        "Shows",
        "carry_out",
        "lay",
        "weights_of",
        "toward",
        "share",
        "removed",
        "CUT",
        "MOST",
        "LEAST",
    ]
)
"""Functions, classes, constants and parameters, with or without underscores before them."""

OLD_PRIVATE_NAMES = frozenset({"_follow", "_note"})
"""Likewise, but with one underscore only."""

OLD_PREFIXES = ("lay_", "MOST_", "LEAST_")

COMMANDS = {ROOT / "src" / "cmudrn" / "cli" / "sheet.py"}
"""Modules that are called as the command that they hold."""


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of functions, classes, parameters, fields and module-level names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        if isinstance(node, ast.Module | ast.ClassDef):
            for line in node.body:
                targets = line.targets if isinstance(line, ast.Assign) else []
                targets = [line.target] if isinstance(line, ast.AnnAssign) else targets
                for name in (name for target in targets for name in ast.walk(target)):
                    if isinstance(name, ast.Name):
                        yield line.lineno, name.id


def is_old(name: str) -> bool:
    """Return whether a name is one that was replaced."""
    plain = name.lstrip("_")
    return plain in OLD_NAMES or name in OLD_PRIVATE_NAMES or plain.startswith(OLD_PREFIXES)


def sources() -> list[Path]:
    """Return the Python files of the repository."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_module_has_an_old_name() -> None:
    paths = sources()
    assert paths
    named = [p for p in paths if p.stem in OLD_MODULES or p.parent.name in OLD_MODULES]
    assert [path for path in named if path not in COMMANDS] == []


def test_no_identifier_has_an_old_name() -> None:
    found = [
        f"{path}:{line} {name}"
        for path in sources()
        for line, name in identifiers(ast.parse(path.read_text(encoding="utf-8")))
        if is_old(name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "def judge(): ...",
        "async def _enter(): ...",
        "class Latest: ...",
        "def f(*, toward=1): ...",
        "f = lambda share: 0",
        "MOST_PIXELS = 1",
        "_LEAST_BYTES: int = 1",
        "CUT, OTHER = 1, 2",
        "class A:\n    text_literal: bool",
        "def _lay_rain(): ...",
        "def _note(): ...",
    ],
)
def test_old_names_are_found(code: str) -> None:
    assert [name for _, name in identifiers(ast.parse(code)) if is_old(name)]


@pytest.mark.parametrize(
    "code", ["def note(): ...", "def layers(): ...", "def f():\n    share = 1"]
)
def test_other_names_are_not(code: str) -> None:
    assert not [name for _, name in identifiers(ast.parse(code)) if is_old(name)]
