"""The HTTP API and its page."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cmudrn.server.limits import Limits

if TYPE_CHECKING:
    from cmudrn.server.app import create_app


def __getattr__(name: str) -> Any:  # worker processes do without the libraries of the server
    """Import the application when it is first asked for."""
    if name != "create_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("cmudrn.server.app").create_app


__all__ = ["Limits", "create_app"]
