"""The HTTP API and its page."""

from cmudrn.server.app import create_app
from cmudrn.server.limits import Limits

__all__ = ["Limits", "create_app"]
