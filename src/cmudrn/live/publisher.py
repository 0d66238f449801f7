"""The restored stream over HTTP: motion JPEG, the newest frame, and its state as JSON.

Each client has a thread and is sent the newest frame whenever it has taken the last one, so a slow
client gets fewer frames and holds up nobody. Their number, and the time that each may take, are
bounded.
"""

from __future__ import annotations

import ipaddress
import json
import select
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.live.status import Frame, LiveStatus

MAX_CLIENTS = 16
"""Connections at once; a further one is answered with 503."""
HEADER_S = 5.0
"""Seconds until a client has sent its request."""
SEND_S = 5.0
"""Seconds in which a client takes a frame, or is disconnected."""

BOUNDARY = "frame"
_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>CMUDRN live</title>
<style>body{margin:0;background:#111;color:#eee;font:1rem sans-serif}img{max-width:100%;
display:block;margin:auto}p{margin:.5rem}a{color:#8cf}</style>
<img src="stream.mjpg" alt="The restored stream">
<p><a href="snapshot.jpg">Newest frame</a> <a href="status.json">State</a></p></html>
"""


class Publisher(ThreadingHTTPServer):
    """Serves a stream until it is closed.

    | path | answer |
    |---|---|
    | /stream.mjpg | frames as multipart/x-mixed-replace |
    | /snapshot.jpg | the newest frame; 503 before the first |
    | /status.json | `LiveStatus.to_json` |
    | /health | 200 while frames come, 503 otherwise |
    | / | a page that shows the stream |
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, status: LiveStatus, address: str) -> None:
        """Listen and serve in threads of its own.

        Args:
            status: of the watch.
            address: HOST:PORT, such as 127.0.0.1:8554 or [::1]:8554; port 0 chooses one.

        Raises:
            InvalidSettingError: the address is none.
            CmudrnError: it cannot be listened at.
        """
        host, port = parse_address(address)
        self.status = status
        self.timeout_s = SEND_S
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise CmudrnError(f"Cannot listen at {address}: {error.strerror}.") from error
        self._hosts = _own_names(host)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def place(self) -> str:
        """HOST:PORT that it listens at."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a client a thread, or turn it away where there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        request.settimeout(0.1)
        with suppress(OSError):
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            request.recv(1 << 16)  # what is left unread would reset the connection
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one client and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away, or is too slow, is no fault."""

    def answers_to(self, host: str) -> bool:
        """Return whether a request for a host name is meant for this server.

        On a loopback address only its own names are: another name is that of a web page whose
        server has moved it here to read the stream (DNS rebinding).
        """
        return not self._hosts or urlsplit(f"//{host}").hostname in self._hosts

    def close(self) -> None:
        """Stop serving; streams end."""
        self.status.close()
        self.shutdown()
        self.server_close()


def parse_address(text: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT.

    Raises:
        InvalidSettingError: it is none.
    """
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port is not None and parts.netloc == text:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise InvalidSettingError(
        f"An address to publish at is HOST:PORT, such as 127.0.0.1:8554, not {text}.",
        setting="publish",
        value=text,
    )


def _own_names(host: str) -> frozenset[str]:
    """Return the names of a loopback address; none for any other, which may have many."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return frozenset({host, "localhost", "127.0.0.1", "::1"}) if loopback else frozenset()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; connections are not kept."""

    server: Publisher
    timeout = HEADER_S
    server_version, sys_version = "cmudrn", ""

    def setup(self) -> None:
        # The time-out of the class is for each piece; this one is for the whole request.
        self._too_late = threading.Timer(HEADER_S, self._disconnect)
        self._too_late.daemon = True
        self._too_late.start()
        super().setup()

    def finish(self) -> None:
        self._too_late.cancel()
        super().finish()

    def _disconnect(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._too_late.cancel()
        self.close_connection = True
        self.connection.settimeout(self.server.timeout_s)
        path, status = urlsplit(self.path).path, self.server.status
        if not self.server.answers_to(self.headers.get("Host", "")):
            self._answer(421, "text/plain", b"This server has another name.\n")
        elif path == "/stream.mjpg":
            self._stream()
        elif path == "/snapshot.jpg":
            frame = status.frame
            if frame is None:
                self._answer(503, "text/plain", b"No frame has come yet.\n")
            else:
                self._answer(200, "image/jpeg", frame.jpeg)
        elif path == "/status.json":
            self._answer(200, "application/json", json.dumps(status.to_json()).encode())
        elif path == "/health":
            self._answer(200 if status.is_live else 503, "text/plain", b"")
        elif path == "/":
            self._answer(200, "text/html; charset=utf-8", _PAGE)
        else:
            self._answer(404, "text/plain", b"There is no such page.\n")

    def _head(self, code: int, kind: str) -> None:
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "Connection": "close",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "default-src 'none'; img-src 'self'; "
            "style-src 'unsafe-inline'; frame-ancestors 'none'",
        }.items():
            self.send_header(name, value)

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self._head(code, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self) -> None:
        self._head(200, f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        status = self.server.status
        frame, sent = status.frame, 0
        while self.command != "HEAD" and not status.closed:
            if frame is not None:
                self._send(frame)
                sent = frame.number
            frame = status.next_frame(sent, 1.0)
            if frame is None and self._is_gone():
                return

    def _is_gone(self) -> bool:
        """Return whether the client has hung up; while no frame is sent, nothing else shows it."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send(self, frame: Frame) -> None:
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n"
        self.wfile.write(head.encode() + b"\r\n" + frame.jpeg + b"\r\n")

    def log_message(self, *_: Any) -> None:
        """Keep no log of requests."""
