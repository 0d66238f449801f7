"""Binding the port and running the server until it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import webbrowser
from dataclasses import replace

import uvicorn

from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.server.connections import (
    ACCEPT_BATCH,
    MAX_HEADER_BYTES,
    BoundedConnection,
    RareFilter,
    allowed_connections,
    make_protocol,
    widen_backlog,
)
from cmudrn.server.limits import Limits
from cmudrn.server.security import Guard


class Server(uvicorn.Server):
    """Ends slow connections, and tells the application before it waits for its requests.

    Args:
        app: what is served.
        limits: of connections.
        host: an address of this machine, where no listening socket is handed to `run`.
        port: likewise; 0 takes a free one.
    """

    def __init__(self, app: Guard, limits: Limits, host: str = "127.0.0.1", port: int = 0) -> None:
        allowed = replace(limits, connections=allowed_connections(limits.connections))
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=make_protocol(allowed),
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=ACCEPT_BATCH,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        super().__init__(config)
        for name in ("asyncio", "uvicorn.error"):  # or a hostile client would fill the disk
            logging.getLogger(name).addFilter(RareFilter())
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen; called by uvicorn."""
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                os_socket = socket.socket(fileno=os.dup(listener.fileno()))
                with os_socket:
                    widen_backlog(os_socket)

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections every second; called by uvicorn ten times as often."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedConnection):
                    connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called by uvicorn when the process is interrupted."""
        self._app.stop()
        await super().shutdown(sockets)


def serve(app: Guard, limits: Limits, host: str, port: int, *, open_page: bool = False) -> None:
    """Serve an application until interrupted.

    Args:
        app: what is served.
        limits: of connections.
        host: an address of this machine.
        port: 0 takes a free one.
        open_page: also show the page in the user's browser.

    Raises:
        CmudrnError: the address cannot be listened on.
    """
    listener = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    print(f"Open {address} in a browser; stop with Ctrl+C.", flush=True)
    if open_page:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    Server(app, limits).run(sockets=[listener])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OverflowError as error:
        raise InvalidSettingError(f"A port is a number from 0 to 65535, not {port}.") from error
    except (TypeError, ValueError) as error:  # letters that no name of a machine can hold
        raise InvalidSettingError(f"{host!r} is not the name or address of a machine.") from error
    except OSError as error:
        # What Python adds to the system's words is cut off; those of names have numbers below 0.
        number, words = error.errno or 0, error.strerror or str(error)
        reason = os.strerror(number) if number > 0 else words.partition(" (")[0]
        raise CmudrnError(f"Cannot listen on {host} port {port}: {reason}.") from error
