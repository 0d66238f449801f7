"""No function is longer than a screen, and no module longer than a few."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tools", "benchmarks")
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 400, 60


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_too_long(folder: str) -> None:
    paths = modules(folder)
    assert paths
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert [f"{path}: {n}" for path, n in lines.items() if n > MAX_MODULE_LINES] == []


@pytest.mark.parametrize("folder", (*FOLDERS, "tests"))
def test_no_function_is_too_long(folder: str) -> None:
    too_long = []
    for path in modules(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    too_long.append(f"{path}:{node.lineno} {node.name}: {lines}")
    assert too_long == []
