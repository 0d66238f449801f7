"""Connections that cannot pile up: caps, deadlines and minimum rates below HTTP.

uvicorn ends idle connections between two requests. What it leaves open for ever is ended here: one
that sends half a header, one that does not read its answer, and those beyond the caps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Iterator

import h11
import uvicorn
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from cmudrn.server.limits import Limits

ACCEPT_BATCH = 8
"""Connections taken in at one turn of the event loop, before any of them is counted."""

RESERVED_FILES = 72
"""Open files that are no connections: libraries, pipes, a batch of connections on their way out."""

MIN_CONNECTIONS = 8

MAX_HEADER_BYTES = 32 << 10

_SLICE_BYTES = 16 << 10
"""Bytes that are taken apart at once."""

_SMALLEST_CHUNK_BYTES = 128
"""Mean size of the chunks of a body, with their heads: each costs as much time as 100 kB do."""

LOG_PERIOD = 10.0
"""Seconds in which one sentence is logged at most once."""


class BoundedConnection(H11Protocol):
    """One client's connection.

    Attributes:
        limits: set for all connections by `make_protocol`.
        is_held: whether a picture of this connection is in the server.
    """

    limits = Limits()
    is_held = False

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state | {"connection": self}, _loop)
        self._sent = 0
        self._unused_since = self.loop.time()
        self._window_start: float | None = None
        self._window_sent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; where there are too many, the one least in use makes room."""
        super().connection_made(transport)
        others = [other for other in self.connections if isinstance(other, BoundedConnection)]
        mine = [other for other in others if other.address == self.address]
        if len(mine) > self.limits.client_connections:
            self._make_room(mine)
        elif len(others) > self.limits.connections:
            most, _ = Counter(other.address for other in others).most_common(1)[0]
            self._make_room([other for other in others if other.address == most])

    def data_received(self, data: bytes) -> None:
        """Take in bytes; called by asyncio with up to 256 kB of them."""
        for start in range(0, len(data), _SLICE_BYTES):
            piece = data[start : start + _SLICE_BYTES]
            if self.transport.is_closing():
                return
            if self._has_tiny_chunks(piece):
                if self.conn.our_state is h11.SEND_RESPONSE:
                    self.send_400_response("The chunks of the body are too small.")
                else:  # an answer has begun
                    self.abort()
                return
            super().data_received(piece)

    def _has_tiny_chunks(self, piece: bytes) -> bool:
        """Return whether a piece of a body in chunks is hardly more than heads of chunks."""
        if self.conn.their_state is not h11.SEND_BODY:
            return False
        if not any(name == b"transfer-encoding" for name, _ in self.headers or ()):
            return False
        return piece.count(b"\r\n") > 16 + 2 * len(piece) // _SMALLEST_CHUNK_BYTES

    def _make_room(self, candidates: list[BoundedConnection]) -> None:
        loose = [one for one in candidates if not one.is_held and one is not self]
        if not loose:
            self.abort()
            return
        min(loose, key=lambda one: (one.is_answering, one.last_use)).abort()

    @property
    def address(self) -> str:
        """The client's address without its port."""
        return self.client[0] if self.client else ""

    @property
    def is_answering(self) -> bool:
        """Whether a request of this connection is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def last_use(self) -> float:
        """When the last answer, or else the connection, began to wait for a request."""
        return self._unused_since

    @property
    def read_bytes(self) -> int:
        """How much of its answers the client's side has taken."""
        return self._sent - self.transport.get_write_buffer_size()

    def count_sent(self, size: int) -> None:
        """Be told of bytes of an answer."""
        self._sent += size

    def on_response_complete(self) -> None:
        """Start to wait for the next request; called by uvicorn."""
        self._unused_since = self.loop.time()
        super().on_response_complete()

    def abort(self) -> None:
        """End the connection without waiting for what was not sent."""
        self.connections.discard(self)
        self.transport.abort()

    def check(self, now: float) -> None:
        """End the connection if its client has been too slow; called every second."""
        if self.transport.get_write_buffer_size() > 0:
            self._check_reading(now)
            return
        self._window_start = None
        if not self.is_answering and now - self._unused_since > self.limits.header_seconds:
            self.abort()

    def _check_reading(self, now: float) -> None:
        if self._window_start is None:
            self._window_start, self._window_sent = now, self.read_bytes
        elif (seconds := now - self._window_start) >= self.limits.stall_seconds:
            if self.read_bytes - self._window_sent < seconds * self.limits.min_rate:
                self.abort()
            else:
                self._window_start, self._window_sent = now, self.read_bytes


@contextlib.contextmanager
def holding(connection: BoundedConnection | None) -> Iterator[None]:
    """Keep a connection from having to make room for another."""
    if connection is None:
        yield
        return
    connection.is_held = True
    try:
        yield
    finally:
        connection.is_held = False


def connection_of(scope: Scope) -> BoundedConnection | None:
    """Return the connection of a request; None where another server runs the application."""
    connection = scope.get("state", {}).get("connection")
    return connection if isinstance(connection, BoundedConnection) else None


def make_protocol(limits: Limits) -> type[BoundedConnection]:
    """Return the protocol for uvicorn, with the limits of this server."""
    return type("Connection", (BoundedConnection,), {"limits": limits})


def allowed_connections(wanted: int) -> int:
    """Return how many connections the system's limit on open files allows, at most those wanted.

    The limit is raised as far as the system lets an ordinary user.
    """
    try:
        import resource  # noqa: PLC0415  (not on Windows)
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(MIN_CONNECTIONS, min(wanted, soft - RESERVED_FILES))


def widen_backlog(listener: socket.socket) -> None:
    """Let connections wait to be accepted, though few are accepted at a time."""
    listener.listen(128)


class RareFilter(logging.Filter):
    """Lets each sentence through once in a while, and says how often it came."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        sentence = str(record.msg)[:200]
        last, count = self._seen.get(sentence, (-LOG_PERIOD, 0))
        if record.created - last < LOG_PERIOD:
            self._seen[sentence] = last, count + 1
            return False
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[sentence] = record.created, 0
        if count:
            record.msg = f"{record.msg} ({count} more like it)"
        return True
