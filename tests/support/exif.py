"""EXIF blocks for tests."""

from __future__ import annotations

from cmudrn.image.directories import Value, make_block


def exif_of(artist: str) -> bytes:
    """Return a bare EXIF block that names an artist."""
    return make_block({315: Value(2, artist.encode() + b"\0")})
