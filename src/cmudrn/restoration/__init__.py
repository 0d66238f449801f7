"""The restore core: an image of any size to a restored image."""

from cmudrn.restoration.frame_restorer import FrameRestorer
from cmudrn.restoration.pieces import run_network
from cmudrn.restoration.restorer import OnTile, Restorer, restore_image
from cmudrn.restoration.settings import RestoredImage, RestoreSettings, Sequence, check_settings

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
