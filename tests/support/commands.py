"""The command line in a process of its own, without waiting for Python's imports each time.

`run` forks a process that has imported everything. Where a process cannot be forked, or has to
begin afresh, `run_afresh` starts Python.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

Done = subprocess.CompletedProcess[bytes]

IMPORTED = (
    "cmudrn.cli", "cmudrn.engines.native", "cmudrn.engines.onnx", "cmudrn.image", "cmudrn.models",
    "cmudrn.photos", "cmudrn.photos.planning", "cmudrn.photos.verify", "cmudrn.restoration",
    "numpy", "onnxruntime", "pyvips", "typer.rich_utils",
)  # fmt: skip
"""What most commands import; none of it starts a thread, which a fork would lose."""
MAX_SECONDS = 300
"""Processes that take longer hang; busy machines are slow."""


def run(
    *arguments: object,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run the command line in a forked process; return what it said.

    Args:
        *arguments: of `cmudrn`.
        stdin: what the process can read.
        cwd: its folder; by default that of the tests.
        env: its environment; by default that of the tests.
    """
    if not hasattr(os, "fork"):
        return run_afresh(*arguments, stdin=stdin, cwd=cwd, env=env)
    command = [os.fsdecode(os.fsencode(str(argument))) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        for path, data in zip(streams, (stdin, b"", b""), strict=True):
            path.write_bytes(data)
        order = {
            "arguments": command,
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "streams": [str(path) for path in streams],
        }
        code = _forking_process().ask(order)
        return Done(command, code, streams[1].read_bytes(), streams[2].read_bytes())


def run_afresh(
    *arguments: object,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run the command line in a new process; as `run`."""
    command = [sys.executable, "-m", "cmudrn", *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=cwd, env=env, timeout=MAX_SECONDS
    )


class _ForkingProcess:
    """A process that forks itself for each order."""

    def __init__(self) -> None:
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        script = f"from support.commands import serve; serve({orders}, {answers})"
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(orders, answers),
            # A pool of threads would be lost in the fork.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        )
        os.close(orders)
        os.close(answers)

    def ask(self, order: object) -> int:
        """Return the exit code of a process."""
        os.write(self._orders, json.dumps(order).encode() + b"\n")
        answer = os.read(self._answers, 100)
        assert answer, "the process that forks has ended"
        return int(answer)


@cache
def _forking_process() -> _ForkingProcess:
    return _ForkingProcess()


def serve(orders: int, answers: int) -> None:
    """Fork for each order; the process that forked goes on as the command line."""
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("cmudrn.cli").load()
    with open(orders, encoding="utf-8") as lines:
        while line := lines.readline():
            child = os.fork()
            if not child:
                break
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(answers, str(code).encode())
    if line:
        os.close(answers)
        _become(json.loads(line))


def _become(order: dict[str, list[str] | str | dict[str, str]]) -> None:
    arguments, cwd, env, streams = (order[key] for key in ("arguments", "cwd", "env", "streams"))
    assert isinstance(cwd, str) and isinstance(env, dict)
    signal.alarm(MAX_SECONDS)
    for number, (path, mode) in enumerate(
        zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)
    ):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["cmudrn", *arguments]
    importlib.import_module("cmudrn.cli").main()


def make_picture(path: Path, seed: int = 0, size: tuple[int, int] = (20, 30)) -> Path:
    """Write an RGB picture of random numbers; its folder is made."""
    from PIL import Image as Pillow

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Pillow.fromarray(pixels).save(path)
    return path


def files(folder: Path) -> list[str]:
    """Return the files below a folder, relative to it, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
