"""The restore core: an image of any size to a restored image."""

from cmudrn.restoration.restorer import TILE_PIXELS, OnTile, Restorer, restore_image
from cmudrn.restoration.settings import RestoredImage, RestoreSettings, Sequence

__all__ = [
    "TILE_PIXELS",
    "OnTile",
    "RestoreSettings",
    "RestoredImage",
    "Restorer",
    "Sequence",
    "restore_image",
]
