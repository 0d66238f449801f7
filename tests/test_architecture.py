"""ARCHITECTURE.md lists every package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cmudrn"
DATA = {"presets"}
"""Folders that hold data, not code."""


def packages() -> list[str]:
    """Return the names of the top-level packages and modules."""
    folders = [p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))]
    modules = [p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")]
    return sorted(set(folders + modules) - DATA)


@pytest.mark.parametrize("name", packages())
def test_every_package_is_described(name: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert re.search(rf"^\|[^|]*\| `{name}`\*? \|", text, re.MULTILINE), f"{name} is not described"


def test_nothing_else_is_described() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("## Packages") : text.index("## One restore core")]
    described = re.findall(r"^\|[^|]*\| `([a-z_]+)`\*? \|", table, re.MULTILINE)
    assert sorted(described) == sorted([*packages()])
