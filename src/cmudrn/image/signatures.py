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
    "gif": (b"GIF87a", b"GIF89a"),
}
_AVIF_BRANDS = (b"avif", b"mif1", b"miaf", b"MA1A", b"MA1B")
"""What an AVIF file is called by itself; one of the others beside `avif` is as good."""
HEAD = 256
"""Bytes of a file that tell its format: an AVIF may be called so at the end of a list of names."""

_UNREAD = {
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
_SAVE_AS = {
    "a HEIC image": "JPEG or AVIF",
    "a JPEG XL image": "JPEG or PNG",
    "a JPEG 2000 image": "PNG or TIFF",
    "a JPEG XR image": "PNG or TIFF",
}
"""What people turn such photographs into, so that they can be restored."""


def format_of(head: bytes, name: str) -> str:
    """Return the format of a file: "jpeg", "png", "tiff", "webp", "bmp", "gif" or "avif".

    Args:
        head: its first `HEAD` bytes.
        name: what to call it in messages.

    Raises:
        UnsupportedImageError: it is of another format; the sentence names it where it is known.
    """
    for kind, magics in _MAGIC.items():
        if head.startswith(magics) and (kind != "webp" or head[8:12] == b"WEBP"):
            return kind
    if _is_avif(head):
        return "avif"
    known = "JPEG, PNG, TIFF, WebP, AVIF, BMP and GIF images are restored"
    for what, pattern in _UNREAD.items():
        if re.match(pattern, head, re.DOTALL):
            advice = f"; save it as {_SAVE_AS[what]} first" if what in _SAVE_AS else ""
            raise UnsupportedImageError(f"{name} is {what}; {known}{advice}.", path=name)
    raise UnsupportedImageError(
        f"{name} is not a JPEG, PNG, TIFF, WebP, AVIF, BMP or GIF picture.", path=name
    )


def _is_avif(head: bytes) -> bool:
    """Return whether a file's first box calls it an AVIF, first or among others."""
    first, *others = _brands(head) or [b""]
    return first == b"avif" or (first in _AVIF_BRANDS and b"avif" in others)


def _brands(head: bytes) -> list[bytes]:
    """Return what the first box of a file says that it is: the main brand, then the others."""
    if head[4:8] != b"ftyp":
        return []
    names = head[8 : int.from_bytes(head[:4])]
    return [names[at : at + 4] for at in (0, *range(8, len(names) - 3, 4))]
