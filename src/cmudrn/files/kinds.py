"""What a file is, by its name or its first bytes."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Literal, TypeVar

from cmudrn.files.regular import open_regular

AnyPath = TypeVar("AnyPath", bound=PurePath)

IMAGE_SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".jfif": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".bmp": "bmp",
    ".dib": "bmp",
    ".avif": "avif",
}
"""File name suffix of images that are read and written -> format."""

READ_ONLY_SUFFIXES = {".gif": ".png"}
"""File name suffix of stills that are read and not written -> suffix of their results."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
    | {".wmv", ".flv", ".3gp", ".ogv"}
)
"""File name suffixes that are taken for video."""

UNSUPPORTED_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".gif", ".apng", ".mng", ".svg", ".ico", ".cur"}
    | {".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".tga", ".psd", ".psb", ".xcf", ".exr"}
    | {".hdr", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".pcx", ".xbm", ".xpm", ".eps"}
    # camera raw files
    | {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"}
    | {".raf", ".pef", ".srw", ".raw", ".3fr", ".iiq", ".x3f"}
)
"""File name suffixes of images that are not written, and mostly not read (`READ_ONLY_SUFFIXES`)."""

Kind = Literal["image", "clip", "unsupported"]


def file_kind(name: str | os.PathLike[str]) -> Kind | None:
    """Return what a file's name says that it is; None is neither image nor video.

    Example:
        >>> file_kind("a.JPG"), file_kind("b.mp4"), file_kind("c.heic"), file_kind("notes.txt")
        ('image', 'clip', 'unsupported', None)
    """
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if suffix in VIDEO_SUFFIXES:
        return "clip"
    return "unsupported" if suffix in UNSUPPORTED_SUFFIXES else None


def result_name(source: AnyPath) -> AnyPath:
    """Return a file with the suffix that its result has.

    Example:
        >>> from pathlib import PurePath
        >>> result_name(PurePath("a.JPG")).name, result_name(PurePath("b.gif")).name
        ('a.JPG', 'b.png')
    """
    other = READ_ONLY_SUFFIXES.get(source.suffix.lower())
    return source.with_suffix(other) if other else source


_VIDEO_SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"OggS",
    b"YUV4MPEG2",
    b"DHAV",
    b"DKIF",  # IVF
    b".RMF",
    b"nut/multimedia",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
    b"\x00\x00\x01\xba",  # MPEG program stream: MPG, VOB
    b"\x00\x00\x01\xb3",  # MPEG video
    *(start + unit for start in (b"\0\0\1", b"\0\0\0\1") for unit in (b"\x67", b"\x27", b"\x40")),
)
"""How video files begin; the last are H.264 and HEVC without a container."""

_IMAGE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"crx ", b"jxl ")


def holds_still(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a still of a kind that is read and not written."""
    if Path(path).suffix.lower() not in READ_ONLY_SUFFIXES or holds_video(path):
        return False
    try:
        with open_regular(path) as file:
            return file.read(4) == b"GIF8"
    except OSError:
        return False


def holds_video(path: str | os.PathLike[str]) -> bool:
    """Return whether a file's first bytes are those of video or an animated GIF."""
    try:
        with open_regular(path) as file:
            head = file.read(1 << 20)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in _IMAGE_BRANDS
    if head.startswith(b"GIF8"):
        return b"NETSCAPE2.0" in head or head.count(b"\x00\x21\xf9\x04") > 1
    packets = any(
        len(head) > start + 376 and {head[start + n * 188] for n in range(3)} == {0x47}
        for start in (0, 4)
    )
    return (
        head.startswith(_VIDEO_SIGNATURES)
        or head[4:8] in (b"moov", b"mdat", b"wide")
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or packets
    )
