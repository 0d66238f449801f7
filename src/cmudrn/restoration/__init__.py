"""The restore core: an image of any size to a restored image."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cmudrn.restoration.pieces import run_network
from cmudrn.restoration.restorer import OnTile, Restorer, restore_image
from cmudrn.restoration.settings import RestoredImage, RestoreSettings, Sequence, check_settings

if TYPE_CHECKING:
    from cmudrn.restoration.frame_restorer import FrameRestorer


def __getattr__(name: str) -> Any:
    if name != "FrameRestorer":  # of clips; a photograph does not wait for its import
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("cmudrn.restoration.frame_restorer").FrameRestorer


__all__ = [
    "FrameRestorer",
    "OnTile",
    "RestoreSettings",
    "RestoredImage",
    "Restorer",
    "Sequence",
    "check_settings",
    "restore_image",
    "run_network",
]
