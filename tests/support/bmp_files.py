"""Bitmaps of every kind, built byte by byte."""

from __future__ import annotations

import struct

WIDTH, HEIGHT = 7, 5


def bmp(
    size: int,
    bits: int,
    pixels: bytes,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
    height: int = HEIGHT,
) -> bytes:
    """Return a bitmap of `WIDTH` x `HEIGHT` pixels.

    Args:
        size: of its header, bytes.
        bits: of a pixel.
        pixels: as they stand in the file.
        compression: as the header says it.
        masks: which bits are red, green, blue and opacity.
        palette: as it stands in the file.
        height: as the header says it; a negative one begins with the first row.
    """
    fields = struct.pack(f"<{len(masks)}I", *masks)
    head = struct.pack("<I4H", 12, WIDTH, abs(height), 1, bits)
    if size > 12:
        numbers = (size, WIDTH, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
        head = (struct.pack("<IiiHHIIiiII", *numbers) + fields).ljust(size, b"\0")
    offset = 14 + len(head) + len(palette)
    return (
        struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + head + palette + pixels
    )
