"""PNG and WebP files built part by part."""

from __future__ import annotations

import struct
import zlib

from cmudrn.image import Pixels


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    rows: Pixels,
    bits: int,
    colour_type: int,
    *parts: tuple[bytes, bytes],
    width: int | None = None,
    methods: bytes = bytes(3),
    end: bytes = chunk(b"IEND", b""),
) -> bytes:
    """Return a PNG of (H, bytes) rows."""
    wide = len(rows[0]) if width is None else width
    head = struct.pack(">IIBB", wide, len(rows), bits, colour_type) + methods
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    between = b"".join(chunk(*part) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + between + chunk(b"IDAT", packed) + end


def interlaced(grey: Pixels) -> bytes:
    """Return a PNG of 8 x 6 grey pixels in the seven passes of Adam7."""
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    passes = [grey[y::down, x::right] for y, x, down, right in (*starts, (1, 0, 2, 1))]
    data = b"".join(b"\0" + row.tobytes() for rows in passes if rows.size for row in rows)
    head = struct.pack(">IIBB", 8, 6, 8, 0) + b"\0\0\1"
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP of chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def u24(*numbers: int) -> bytes:
    """Return whole numbers of three bytes each, as WebP stores them."""
    return b"".join(number.to_bytes(3, "little") for number in numbers)
