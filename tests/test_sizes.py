"""No function is longer than a screen, and no module longer than a few, in any language."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "tools", "benchmarks", "integrations")
OTHER_LANGUAGES = ("*.cpp", "*.h", "*.inl", "*.js", "*.css", "*.html", "*.sh")
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 400, 60


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_too_long(folder: str) -> None:
    paths = modules(folder)
    assert paths
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert [f"{path}: {n}" for path, n in lines.items() if n > MAX_MODULE_LINES] == []


@pytest.mark.parametrize("pattern", OTHER_LANGUAGES)
def test_no_file_of_another_language_is_too_long(pattern: str) -> None:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern))
    assert paths
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert [f"{path}: {n}" for path, n in lines.items() if n > MAX_MODULE_LINES] == []


def braced_functions(text: str) -> Iterator[tuple[int, int]]:
    """Yield (first line, lines) of the functions of clang-format's C++ or of JavaScript.

    A function begins on a line without indentation, or with that of a class, that opens a brace
    after a parenthesis; it ends with the brace of the same indentation.
    """
    lines = text.splitlines()
    for first, line in enumerate(lines):
        opened = re.match(
            r"( {0,4})(?!namespace|struct|class|enum|//|if|for|while|switch)\S.*\{$", line
        )
        if opened and ("(" in line or ")" in line):
            end = re.compile(rf"{opened[1]}\}}")
            last = next((n for n in range(first + 1, len(lines)) if end.match(lines[n])), first)
            yield first + 1, last - first + 1


@pytest.mark.parametrize("pattern", ["*.cpp", "*.h", "*.inl", "*.js"])
def test_no_function_of_another_language_is_too_long(pattern: str) -> None:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern))
    found = [
        f"{path}:{line}: {length}"
        for path in paths
        for line, length in braced_functions(path.read_text(encoding="utf-8"))
        if length > MAX_FUNCTION_LINES
    ]
    assert found == []


def test_functions_with_braces_are_found() -> None:
    text = "int f(int x) {\n  return x;\n}\n\nclass A {\n  void g() {\n  }\n};\n"
    assert list(braced_functions(text)) == [(1, 3), (6, 2)]


@pytest.mark.parametrize("folder", FOLDERS)
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
