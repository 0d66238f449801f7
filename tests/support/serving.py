"""A real server on a free port of this machine, for tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cmudrn.server import Limits, create_app
from cmudrn.server.security import LOCAL_HOSTS
from cmudrn.server.serve import Server


@contextlib.contextmanager
def serving(
    model: Path,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the address of a server that runs in a thread of this process."""
    limits = limits or Limits()
    served = create_app({"tiny": model}, limits, [*LOCAL_HOSTS, *hosts], token)
    server = Server(served, limits)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def files_in(temporary: Path) -> list[Path]:
    """Return the files in a temporary folder but for ONNX Runtime's, a few bytes of its own."""
    return [path for path in temporary.rglob("*") if path.is_file() and path.name != ".ses"]
