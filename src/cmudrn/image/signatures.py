"""What a file is, by its first bytes."""

from __future__ import annotations

import re

from cmudrn.errors import UnsupportedImageError

_MAGIC = {
    "jpeg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "webp": (b"RIFF",),
    "bmp": (b"BM",),
    "avif": (b"ftypavif",),
}
_UNREAD = {
    "a GIF": rb"GIF8",
    "an AVIF animation": rb"....ftypavis",
    "a HEIC image": rb"....ftyp(hei|hev|mif1|msf1)",
    "a camera's raw file": rb"....ftypcrx |FUJIFILM|II(RO|RS|U\0)|MMOR|FOVb|\0MRM",
    "a video file": rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ",
    "a JPEG XL image": rb"\xff\x0a|....JXL ",
    "a JPEG 2000 image": rb"....jP  |\xff\x4f\xff\x51",
    "a JPEG XR image": rb"II\xbc",
    "a Photoshop file": rb"8BPS",
    "an OpenEXR image": rb"\x76\x2f\x31\x01",
    "a Radiance image": rb"#\?RADIANCE|#\?RGBE",
    "a portable pixel map": rb"P[1-7fF]\s",
    "a Windows icon": rb"\0\0[\1\2]\0",
    "a PDF": rb"%PDF",
    "an SVG drawing": rb"<svg|<\?xml",
}
"""What is told of files that are not read: a name for the pattern of their first bytes."""


def format_of(head: bytes, name: str) -> str:
    """Return the format of a file: "jpeg", "png", "tiff", "webp", "bmp" or "avif".

    Args:
        head: its first 16 bytes.
        name: what to call it in messages.

    Raises:
        UnsupportedImageError: it is of another format; the sentence names it where it is known.
    """
    for kind, magics in _MAGIC.items():
        start = 4 if kind == "avif" else 0
        if head.startswith(magics, start) and (kind != "webp" or head[8:12] == b"WEBP"):
            return kind
    known = "JPEG, PNG, TIFF, WebP, AVIF and BMP images are restored."
    for what, pattern in _UNREAD.items():
        if re.match(pattern, head, re.DOTALL):
            raise UnsupportedImageError(f"{name} is {what}; {known}", path=name)
    raise UnsupportedImageError(
        f"{name} is not a JPEG, PNG, TIFF, WebP, AVIF or BMP picture.", path=name
    )
