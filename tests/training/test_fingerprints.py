"""The fingerprint of code is the same under every version of Python."""

from __future__ import annotations

import ast

import pytest

from cmudrn.training.fingerprints import _describe

CODE = "def f(x: int = 0) -> str | None:\n    return f'{x:>{4}}' if x else None\n"


def test_fields_that_only_some_versions_have_do_not_count_while_they_are_empty() -> None:
    tree = ast.parse(CODE)
    described = _describe(tree)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function._fields = (*function._fields, "type_params", "later")  # type: ignore[misc]
    function.type_params, function.later = [], None  # type: ignore[attr-defined]
    assert _describe(tree) == described
    function.later = [ast.Name("T")]  # type: ignore[attr-defined]
    assert _describe(tree) != described


@pytest.mark.parametrize(
    ("one", "other"), [("x = 0", "x = False"), ("f(1)", "f(1.0)"), ("f(a)", "f(*a)"), ("a", "b")]
)
def test_other_code_is_described_otherwise(one: str, other: str) -> None:
    assert _describe(ast.parse(one)) != _describe(ast.parse(other))
    assert _describe(ast.parse(one)) == _describe(ast.parse(one + "  # a comment"))
