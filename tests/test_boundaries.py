"""Who may call an engine, and what may cross the border of a package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "cmudrn"
CORE = PACKAGE / "restoration" / "pieces.py"
TYPED_PACKAGES = ("photos", "video", "live", "server", "cluster")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_engine(annotation: ast.expr | None) -> bool:
    return annotation is not None and "Engine" in {
        node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)
    }


def makes_engine(value: ast.expr) -> bool:
    """Return whether an expression opens an engine, or several."""
    if isinstance(value, ast.Tuple | ast.List):
        return any(map(makes_engine, value.elts))
    if not isinstance(value, ast.Call):
        return False
    name = getattr(value.func, "id", getattr(value.func, "attr", ""))
    return name.endswith("Engine") or name in OPENERS


OPENERS = {"open_engine", "open_checkpoint", "open_exported", "opened", "open_with"}
"""Functions whose result is an engine."""


def engine_names(tree: ast.AST) -> set[str]:
    """Return the names that hold an engine somewhere in a module."""
    names = {"engine", "engines"}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and is_engine(node.annotation):
            names.add(node.arg)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if is_engine(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.Assign) and makes_engine(node.value):
            targets = [each for target in node.targets for each in ast.walk(target)]
            names.update(each.id for each in targets if isinstance(each, ast.Name))
    return names - OPENERS


def engine_calls(text: str) -> list[str]:
    """Return the expressions of a module that call an engine."""
    tree = ast.parse(text)
    names = engine_names(tree)
    calls = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Subscript):
                called = called.value
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            opened_and_called = makes_engine(called)
            if name in names or opened_and_called:
                calls.append(ast.unparse(node))
    return calls


@pytest.mark.parametrize(
    "text",
    [
        "def f(engine: Engine) -> None:\n    engine(batch)",
        "def f(network: Engine) -> None:\n    network(batch)",
        "live = open_checkpoint(path)\nlive(batch)",
        "open_engine('cmudrn')(batch)",
        "a, b = open_checkpoint(path), OnnxEngine(model)\nb(batch, branches=True)",
        "x = [engine(batch) for engine in (live, exported)]",
        "restorer.engine(batch)",
        "engines['onnx'](batch)",
    ],
)
def test_a_call_of_an_engine_is_seen(text: str) -> None:
    assert len(engine_calls(text)) == 1


def test_the_core_alone_calls_an_engine() -> None:
    modules = [p for p in PACKAGE.rglob("*.py") if "engines" not in p.relative_to(PACKAGE).parts]
    calls = {path: engine_calls(path.read_text(encoding="utf-8")) for path in modules}
    assert len(calls.pop(CORE)) == 1
    assert not {str(path): found for path, found in calls.items() if found}


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield (name, function) for each public function and method, constructors included."""
    for node in tree.body:
        public = not getattr(node, "name", "_").startswith("_")
        if isinstance(node, Function) and public:
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and public:
            for method in node.body:
                if isinstance(method, Function) and (
                    not method.name.startswith("_") or method.name == "__init__"
                ):
                    yield f"{node.name}.{method.name}", method


def loose_signatures(text: str) -> list[str]:
    """Return the public functions of a module that take or return a mapping to anything."""
    found = []
    for name, function in public_functions(ast.parse(text)):
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        annotations = [each.annotation for each in every] + [function.returns]
        texts = [ast.unparse(annotation) for annotation in annotations if annotation]
        if any(f"{kind}[str, Any]" in each for kind in ("dict", "Mapping") for each in texts):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "def f(record: dict[str, Any]) -> None: ...",
        "async def f() -> list[dict[str, Any]]: ...",
        "class A:\n    def f(self, *, record: Mapping[str, Any] | None) -> None: ...",
        "class A:\n    def __init__(self, record: dict[str, Any]) -> None: ...",
    ],
)
def test_a_loose_signature_is_seen(text: str) -> None:
    assert len(loose_signatures(text)) == 1


@pytest.mark.parametrize("package", TYPED_PACKAGES)
def test_what_crosses_a_border_has_a_type(package: str) -> None:
    modules = sorted((PACKAGE / package).rglob("*.py"))
    assert modules
    found = {path.name: loose_signatures(path.read_text(encoding="utf-8")) for path in modules}
    assert not {name: names for name, names in found.items() if names}
