"""Answers on their way to clients that may read slowly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cmudrn.server.connections import BoundedConnection, connection_of
from cmudrn.server.limits import Limits
from cmudrn.server.worker_pool import AnswerHead, Delivery

FAST_RATE = 1 << 20
"""Bytes a second from which a client counts as fast and keeps its connection in any case."""


class Readers:
    """The clients that are reading answers.

    Args:
        limits: of the time that a client has before it is measured.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started: dict[BoundedConnection, tuple[float, int]] = {}

    @contextlib.contextmanager
    def reading(self, connection: BoundedConnection | None) -> Iterator[None]:
        """Count a client in while its answer is sent."""
        if connection is None:
            yield
            return
        self._started[connection] = time.monotonic(), connection.read_bytes
        try:
            yield
        finally:
            del self._started[connection]

    def end_slowest(self) -> None:
        """End the connection that has read most slowly, if any has been slow for long enough."""
        now = time.monotonic()
        rates = {
            connection: (connection.read_bytes - before) / (now - started)
            for connection, (started, before) in self._started.items()
            if now - started > self._limits.stall_seconds
        }
        if rates and min(rates.values()) < FAST_RATE:
            min(rates, key=lambda connection: rates[connection]).abort()


class StreamedAnswer(Response):
    """Sends an answer piece by piece, as fast as its client reads.

    Args:
        delivery: brings the bytes.
        readers: count the client in.
        held: closed when the answer is sent or the client has left.
    """

    def __init__(self, delivery: Delivery, readers: Readers, held: contextlib.ExitStack) -> None:
        self.delivery = delivery
        self._readers = readers
        self._held = held
        super().__init__(headers=_headers(delivery.head), media_type=delivery.head.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        connection = connection_of(scope)
        with self._held, self._readers.reading(connection):
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            left = self.delivery.head.length
            try:
                async for chunk in self.delivery.chunks():
                    left -= len(chunk)
                    await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
            except EOFError:
                if connection is not None:
                    connection.abort()


def _headers(head: AnswerHead) -> dict[str, str]:
    headers = {
        "Server-Timing": f"restore;dur={1000 * head.seconds:.0f}",
        "Content-Length": str(head.length),
        "Cmudrn-Changed": f"{head.changed:.4f}",
    }
    if head.notes:
        headers["Cmudrn-Notes"] = " ".join(head.notes).encode("ascii", "replace").decode()
    return headers
