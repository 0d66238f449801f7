"""The process of `cmudrn.engines.confined`: opens one model file and runs it, within its limits."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import IO, Any, NoReturn

import numpy as np

from cmudrn.engines.confined import read_part, write_part
from cmudrn.engines.onnx import first_line, make_session

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def main() -> None:
    """Be the process: open the model that comes first, then run it on what follows."""
    options = json.loads(sys.argv[1])
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up in an answer
    asked = _listen(inbox)
    _limit_memory(options["memory"])
    try:
        session = make_session(next(asked), options["threads"])
        names = [
            [one.name for one in some] for some in (session.get_inputs(), session.get_outputs())
        ]
        answer = [json.dumps(names).encode()]
    except Exception as error:  # ONNX Runtime's errors have no common type
        _fail(outbox, error)
    while True:
        for part in (b"", *answer):
            write_part(outbox, part)
        answer = _run(session, json.loads(next(asked)), next(asked), outbox)


def _run(session: Any, about: dict[str, Any], content: bytes, outbox: IO[bytes]) -> list[bytes]:
    batch = np.frombuffer(content, np.float32).reshape(about["shape"])
    try:
        (made,) = session.run(about["wanted"], {session.get_inputs()[0].name: batch})
        made = np.asarray(made, np.float32)
    except Exception as error:
        _fail(outbox, error)
    return [json.dumps({"shape": made.shape}).encode(), made.tobytes()]


def _fail(outbox: IO[bytes], error: Exception) -> NoReturn:
    """Say why, and end: what a failed network has left of the memory is unknown."""
    write_part(outbox, first_line(error).encode() or b"it failed")
    os._exit(1)


def _listen(inbox: IO[bytes]) -> Iterator[bytes]:
    """Return an iterator of what comes; the process ends with its parent, even amid a call."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        try:
            while True:
                waiting.put(read_part(inbox))
        except EOFError:
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return iter(waiting.get, None)


def _limit_memory(limit: int) -> None:
    """Limit this process's memory, where the system does that: on Linux."""
    if resource is None:
        return
    for kind, most in ((resource.RLIMIT_DATA, limit), (resource.RLIMIT_CORE, 0)):
        soft, hard = resource.getrlimit(kind)
        if soft == resource.RLIM_INFINITY or most < soft:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (most, hard))
