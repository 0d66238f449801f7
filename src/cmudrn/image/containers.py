"""What libvips does not tell or do about a file's chain of chunks or segments."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_AFTER_HEADER = 33  # a PNG's signature and IHDR chunk


def is_lossless(file: BinaryIO, kind: str) -> bool:
    """Return whether the file stores its pixels exactly."""
    if kind == "webp":
        return any(name == b"VP8L" for name, _ in _webp_chunks(file))
    return kind != "jpeg"


def is_animated_png(file: BinaryIO) -> bool:
    """Return whether a PNG announces frames, of which plain readers show only one."""
    return any(name == b"acTL" for name, _ in _png_chunks(file))


def has_second_picture(file: BinaryIO) -> bool:
    """Return whether a JPEG holds another picture behind the first (Multi-Picture Format)."""
    for marker, length in _jpeg_segments(file):
        if marker == 0xE2 and length >= 4 and file.read(4) == b"MPF\0":
            return True
    return False


def with_xmp(png: bytes, xmp: bytes) -> bytes:
    """Return a PNG file with XMP in the chunk that the XMP standard asks for.

    libvips writes it into a compressed Latin-1 chunk, which few readers look for.
    """
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    length, checksum = len(body) - 4, zlib.crc32(body)
    chunk = length.to_bytes(4, "big") + body + checksum.to_bytes(4, "big")
    return png[:_AFTER_HEADER] + chunk + png[_AFTER_HEADER:]


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    position = 12
    while len(head := _at(file, position, 8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        position += 8 + length + length % 2


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of the chunks before the first pixels."""
    position = 8
    while len(head := _at(file, position, 8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        yield head[4:], length
        position += 12 + length


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and length of the segments before the first pixels, the file at their body."""
    position = 2
    while len(head := _at(file, position, 4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        length = int.from_bytes(head[2:], "big")
        yield head[1], length - 2
        position += 2 + max(length, 2)


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)
