"""An image of any size to a restored image."""

from cmudrn.restoration.restorer import TILE_PIXELS, Restoration, Restorer

__all__ = ["TILE_PIXELS", "Restoration", "Restorer"]
