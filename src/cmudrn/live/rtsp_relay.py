"""A relay between FFmpeg and an RTSP server that lets no redirect through.

FFmpeg follows a redirect of RTSP to any host, and has no option against it. So it is given an
address of this machine, where the relay passes on what it understands of the server's answers: up
to the start of playing each answer is taken apart and written anew, so that FFmpeg cannot read
something else in it. From there on FFmpeg follows no redirect, and bytes pass as they are.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from io import BufferedReader
from urllib.parse import urljoin, urlsplit, urlunsplit

from cmudrn.live.tls import TlsConnection
from cmudrn.video.access import AddressRefusedError, hide_password

MAX_LINE_BYTES, MAX_LINES = 4000, 100
"""Of the header of an answer; FFmpeg cuts longer lines off."""

MAX_BODY_BYTES = 1 << 20
"""Of an answer: a description of the streams has a few kilobytes."""

_PORTS = {"rtsp": 554, "rtsps": 322}
_STATUS = re.compile(rb"RTSP/1\.\d (\d{3})(?!\d)")
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]*([\x20-\x7e]*)")
_FRAME = b"$"  # what begins a packet of the stream between the answers
_PUMP_BYTES = 1 << 16

Connection = socket.socket | TlsConnection


class RtspRelay:
    """Stands between FFmpeg and one RTSP server; a context manager.

    Args:
        address: rtsp or rtsps, with name and password if there are any.
        timeout_s: how long the server may take to let in.

    Attributes:
        location: where the server redirected to; None where it did not.

    Raises:
        OSError: the server cannot be reached.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._is_playing = False
        self._listener: socket.socket | None = None
        self._sockets: list[Connection] = []
        self.location: str | None = None

    @property
    def address(self) -> str:
        """The address for FFmpeg, while the relay is entered."""
        parts = urlsplit(self._address)
        user, mark, _ = parts.netloc.rpartition("@")
        assert self._listener is not None
        host, port = self._listener.getsockname()
        return urlunsplit(parts._replace(scheme="rtsp", netloc=f"{user}{mark}{host}:{port}"))

    def __enter__(self) -> RtspRelay:
        """Connect to the server and wait for FFmpeg."""
        server = self._connect()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._sockets = [self._listener, server]
        threading.Thread(target=self._serve, args=(self._listener, server), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close all connections, which ends the threads."""
        for one in self._sockets:
            _close(one)

    def redirected(self) -> str:
        """Return the address that the server redirected to, on its own host and port.

        Raises:
            AddressRefusedError: it is on another one.
        """
        new = urljoin(self._address, self.location or "")
        old_parts, new_parts = urlsplit(self._address), urlsplit(new)
        try:
            is_own = _place(self._address) == _place(new)
        except ValueError:
            is_own = False
        if not is_own:
            raise AddressRefusedError(
                f"{hide_password(self._address)} redirects to {new_parts.hostname}, "
                "which is another host or port; it is not followed."
            )
        return urlunsplit(new_parts._replace(netloc=old_parts.netloc))

    def _connect(self) -> Connection:
        parts = urlsplit(self._address)
        port = parts.port or _PORTS[parts.scheme.lower()]
        server = socket.create_connection((parts.hostname or "", port), self._timeout_s)
        if parts.scheme.lower() == "rtsps":
            return TlsConnection(server, parts.hostname or "")
        server.settimeout(None)  # FFmpeg keeps the time
        return server

    def _serve(self, listener: socket.socket, server: Connection) -> None:
        with contextlib.suppress(OSError, ValueError):
            client, _ = listener.accept()
            self._sockets.append(client)
            _close(listener)
            threading.Thread(target=self._pass_requests, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError, ValueError):
                self._pass_answers(server, client)
            _close(server)
            client.shutdown(socket.SHUT_WR)  # what was sent still arrives

    def _pass_requests(self, client: socket.socket, server: Connection) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_PUMP_BYTES):
                # FFmpeg waits for each answer, so a request comes alone.
                self._is_playing = self._is_playing or data.startswith(b"PLAY ")
                with contextlib.suppress(OSError):  # gone; what it sent is still being passed on
                    server.sendall(data)
        _close(server)

    def _pass_answers(self, server: Connection, client: socket.socket) -> None:
        with server.makefile("rb") as reader:
            while not self._is_playing:
                client.sendall(self._next_answer(reader))
            while data := reader.read1(_PUMP_BYTES):
                client.sendall(data)

    def _next_answer(self, reader: BufferedReader) -> bytes:
        """Return the next answer as this program understands it.

        Raises:
            ValueError: it is none, or a redirect.
        """
        if (first := reader.read(1)) == _FRAME:
            head = reader.read(3)
            frame = reader.read(int.from_bytes(head[1:]))
            return first + head + frame if self._is_playing else b""
        found = _STATUS.match(first + reader.readline(MAX_LINE_BYTES))
        if not found:
            raise ValueError("no answer")
        headers, length = [], 0
        for _ in range(MAX_LINES):
            line = reader.readline(MAX_LINE_BYTES).rstrip(b"\r\n")
            if not line:
                break
            if not (header := _HEADER.fullmatch(line)):
                continue
            name, value = header[1].lower(), header[2]
            if name == b"content-length":
                length = int(value)
            elif name == b"location":
                self.location = value.decode("ascii")
            else:
                headers.append(line)
        else:
            raise ValueError("no end")
        if found[1].startswith(b"3"):
            self.location = self.location or ""
            raise ValueError("a redirect")
        self.location = None
        if not 0 <= length <= MAX_BODY_BYTES:
            raise ValueError("too long")
        lines = [b"RTSP/1.0 " + found[1] + b" OK", *headers, b"Content-Length: %d" % length]
        return b"\r\n".join(lines) + b"\r\n\r\n" + reader.read(length)


def _close(one: Connection) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _place(address: str) -> tuple[str, str | None, int]:
    parts = urlsplit(address)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _PORTS.get(scheme, 0)
