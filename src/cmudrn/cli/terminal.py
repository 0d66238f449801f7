"""What the command line prints: text that is safe on a terminal, errors with the option that helps.

Results go to standard output; errors, notes and progress to standard error.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from contextvars import ContextVar

from cmudrn.errors import (
    CmudrnError,
    InvalidSettingError,
    LimitExceededError,
    MissingExtraError,
    TargetError,
)
from cmudrn.files import printable

_running: ContextVar[tuple[int, frozenset[str] | None]] = ContextVar("running", default=(0, None))
"""Verbosity and parameters of the command that runs."""

_EXTRAS = {
    "ai_edge_litert": "detection",
    "av": "video",
    "fastapi": "serve",
    "fsspec": "cluster",
    "matplotlib": "evaluate",
    "onnx": "train",
    "openvino": "openvino",
    "prometheus_client": "serve",
    "pydantic": "train",
    "python_multipart": "serve",
    "ray": "cluster",
    "safetensors": "train",
    "scipy": "evaluate",
    "skimage": "evaluate",
    "starlette": "serve",
    "torch": "train",
    "uvicorn": "serve",
}
"""Package that may be missing -> the extra that brings it."""


def _print(text: str, *, err: bool, end: str = "\n") -> None:
    """Print on one of the outputs; where both go to one file, in the order of the calls."""
    if err:
        with suppress(OSError, ValueError):  # whoever writes there tells what is wrong with it
            sys.stdout.flush()
    print(text, end=end, file=sys.stderr if err else sys.stdout, flush=err)


def complain(sentence: str) -> None:
    """Print one sentence on standard error."""
    _print(f"cmudrn: {printable(sentence)}", err=True)


def note(sentence: str) -> None:
    """Print one sentence on standard error unless only errors are wanted."""
    if verbosity() >= 0:
        complain(sentence)


def say(line: str) -> None:
    """Print one line of a result on standard output unless only errors are wanted."""
    if verbosity() >= 0:
        _print(printable(line), err=False)


def show(*lines: str, err: bool = False) -> None:
    """Print lines that are always wanted; a line break inside one of them is no line break.

    Args:
        lines: any text.
        err: print on standard error.
    """
    for line in lines:
        _print(printable(line), err=err)


def show_json(record: object, *, indent: int | None = None, err: bool = False) -> None:
    """Print a record as JSON, in which everything but ASCII is escaped."""
    _print(json.dumps(record, indent=indent), err=err)


def show_count(text: str, *, last: bool) -> None:
    """Print progress over the line before it, on standard error."""
    _print(f"\r{printable(text)}", err=True, end="\n" if last else "")


def begin(verbosity: int, parameters: frozenset[str]) -> None:
    """Say that a command begins.

    Args:
        verbosity: -1 prints errors only, 1 more than usual.
        parameters: names of what it takes.
    """
    _running.set((verbosity, parameters))


def verbosity() -> int:
    """Return -1 where only errors are printed, 1 where more is printed than usual, else 0."""
    return _running.get()[0]


def describe(error: CmudrnError) -> str:
    """Return an error's sentence, with the command line's option that helps, if there is one."""
    sentence = str(error)
    if isinstance(error, TargetError) and error.exists and _has("overwrite"):
        return f"{sentence.removesuffix('.')} (--overwrite replaces it)."
    if isinstance(error, LimitExceededError) and _has(error.limit_name):
        return f"{sentence.removesuffix('.')} (--{error.limit_name.replace('_', '-')})."
    return sentence


def exit_code(error: CmudrnError) -> int:
    """Return 2 where a value on the command line is none, and 1 where something failed."""
    misnamed = isinstance(error, TargetError) and error.misnamed
    return 2 if misnamed or isinstance(error, InvalidSettingError) else 1


def _has(parameter: str) -> bool:
    """Return whether the command that runs takes a parameter."""
    parameters = _running.get()[1]
    return parameters is None or parameter in parameters


def missing_extra(error: ImportError, what: str = "This command") -> MissingExtraError | None:
    """Return what an import error means for a user; None where it is no extra's package."""
    package = (error.name or "").partition(".")[0]
    return MissingExtraError(what, _EXTRAS[package]) if package in _EXTRAS else None
