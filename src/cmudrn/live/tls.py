"""A TLS connection that one thread reads while another one writes."""

from __future__ import annotations

import io
import selectors
import socket
import ssl
import threading
from collections.abc import Callable


class TlsConnection(io.RawIOBase):
    """A connection through TLS, whose `ssl.SSLSocket` serves one thread at a time.

    The certificate is not checked, as cameras sign their own.

    Args:
        connection: connected to the server.
        host: name of the server.

    Raises:
        OSError: the server does not speak TLS.
    """

    def __init__(self, connection: socket.socket, host: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._connection = context.wrap_socket(connection, server_hostname=host)
        self._connection.setblocking(False)
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read some bytes, at least one; return how many, 0 at the end."""
        return self._try_until_done(lambda: self._connection.recv_into(buffer))

    def sendall(self, data: bytes) -> None:
        """Send bytes."""
        left = memoryview(data)
        while left:
            part = left
            left = left[self._try_until_done(lambda: self._connection.send(part)) :]  # noqa: B023

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered reader."""
        return io.BufferedReader(self)

    def shutdown(self, how: int) -> None:
        """End both directions, which ends what waits for them."""
        self._connection.shutdown(how)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        super().close()

    def _try_until_done(self, act: Callable[[], int]) -> int:
        while True:
            try:
                with self._lock:
                    return act()
            except ssl.SSLWantReadError:
                event = selectors.EVENT_READ
            except ssl.SSLWantWriteError:
                event = selectors.EVENT_WRITE
            self._wait(event)

    def _wait(self, event: int) -> None:
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self._connection, event)
            except ValueError as error:  # closed meanwhile
                raise ConnectionAbortedError("closed") from error
            selector.select()
