"""What every answer has and every request must pass, whatever the route."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmudrn.server.connections import connection_of
from cmudrn.server.problems import Problem, problem_response
from cmudrn.server.tokens import ASK, is_allowed

DRAIN_SECONDS = 5.0
"""How long a body that nobody wants is read, so that its sender sees the answer."""
STOPPING_DRAIN_SECONDS = 0.5
"""Likewise when the server stops."""

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names of this machine, on which other programs may serve pages, too."""

_HTTP_PORT = 80

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: strict headers, the Host check against DNS rebinding, the own origin only.

    Args:
        app: what is guarded.
        hosts: names that the server answers to; "*" is any.
        drain_bytes: how much of an unread body is read and dropped before an answer, so that a
            client that is still sending sees it.
        on_stop: called once the server is told to stop.
        token: what requests must show; None for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        drain_bytes: int,
        on_stop: Callable[[], None],
        token: str | None = None,
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)
        self._drain_bytes = drain_bytes
        self._drain_seconds = DRAIN_SECONDS
        self._on_stop = on_stop
        self._token = token

    def stop(self) -> None:
        """End what is under way: requests for restorations are answered with 503 at once."""
        self._drain_seconds = STOPPING_DRAIN_SECONDS
        self._on_stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = _Body(receive)
        connection = connection_of(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Asking for the body of a client that waits to be asked would start its upload.
                if "expect" not in headers:
                    await body.drain(
                        _declared_length(headers), self._drain_bytes, self._drain_seconds
                    )
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered.setdefault(name, value)
            elif connection is not None:
                connection.count_sent(len(message.get("body", b"")))
            await send(message)

        try:
            self._check(scope, headers)
        except Problem as problem:
            await problem_response(problem)(scope, body.receive, send_guarded)
        else:
            await self._app(scope, body.receive, send_guarded)

    def _check(self, scope: Scope, headers: Headers) -> None:
        name = _host_name(headers.get("host", ""))
        if "*" not in self._hosts and name not in self._hosts:
            raise Problem(421, f"This server does not answer to the host name {name!r}.")
        # A link on another site may lead here; its scripts and forms may not send anything, nor
        # may those of another port of this machine ("same-site").
        only_reads = scope["method"] in ("GET", "HEAD")
        site = headers.get("sec-fetch-site")
        if site in ("cross-site", "same-site"):
            foreign = not (only_reads and headers.get("sec-fetch-mode") == "navigate")
        elif only_reads or "origin" not in headers:
            foreign = False
        elif site is None:
            # Browsers leave out Sec-Fetch-Site for other machines without TLS, and old ones always.
            foreign = not self._is_own(headers["origin"], headers.get("host", ""), scope)
        else:
            foreign = headers["origin"] == "null"
        if foreign:
            raise Problem(403, "Pages of other sites may not use this server.")
        if self._token is not None and not is_allowed(
            self._token, scope["path"], headers.get("authorization", "")
        ):
            raise Problem(401, "This server needs its token.", ASK)

    def _is_own(self, origin: str, host: str, scope: Scope) -> bool:
        """Return whether an origin is this server, as far as the Host header knows it.

        A proxy may keep its port to itself, or call this server by another name than its own.
        """
        name, port = _split(origin.partition("://")[2])
        host_name, host_port = _split(host)
        if not name:
            return False
        if name != host_name:
            return name in self._hosts - LOCAL_HOSTS
        if host_port is None and (scope.get("server") or ("", None))[1] != _HTTP_PORT:
            return True  # somebody between us and the client has left the port out
        default = 443 if origin.startswith("https:") else _HTTP_PORT
        return (port or default) == (host_port or default)


def _split(address: str) -> tuple[str, int | None]:
    """Return the name and the port of an address; ("", None) where it is none."""
    if set("@/?#\\") & set(address):
        return "", None
    try:
        parts = urlsplit(f"//{address}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None


def _host_name(host: str) -> str:
    return _split(host)[0]


class _Body:
    """A request's body, with a note of what is still to come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._complete = False
        self._length = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._length += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._complete = True
        return message

    async def drain(self, declared: int, limit: int, seconds: float) -> None:
        if declared > limit:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._complete and self._length <= limit:
                    await self.receive()


def _declared_length(headers: Headers) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0
