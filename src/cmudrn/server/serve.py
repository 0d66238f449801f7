"""Binding the port and running the server until it is interrupted."""

from __future__ import annotations

import os
import socket
import threading
import webbrowser

import uvicorn

from cmudrn.errors import CmudrnError
from cmudrn.server.security import Guard


class Server(uvicorn.Server):
    """Tells the application that it is to stop, before it waits for the requests under way."""

    def __init__(self, app: Guard, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called by uvicorn when the process is interrupted."""
        self._app.stop()
        await super().shutdown(sockets)


def listen(app: Guard, host: str, port: int, *, open_page: bool = False) -> None:
    """Serve an application until interrupted.

    Args:
        app: what is served.
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
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
    )
    Server(app, config).run(sockets=[listener])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OverflowError as error:
        raise CmudrnError(f"A port is a number from 0 to 65535, not {port}.") from error
    except (TypeError, ValueError) as error:  # letters that no name of a machine can hold
        raise CmudrnError(f"{host!r} is not the name or address of a machine.") from error
    except OSError as error:
        # What Python adds to the system's words is cut off; those of names have numbers below 0.
        number, words = error.errno or 0, error.strerror or str(error)
        reason = os.strerror(number) if number > 0 else words.partition(" (")[0]
        raise CmudrnError(f"Cannot listen on {host} port {port}: {reason}.") from error
