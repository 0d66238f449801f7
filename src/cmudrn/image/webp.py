"""WebP files: what stands in their chunks beside pixels. Source: RFC 9649."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from cmudrn.image.containers import Contents, printable, read_at, trailer_note

_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"VP8X", b"ANIM", b"ANMF")
_KEYS = {b"ICCP": "icc-profile-data", b"EXIF": "exif-data", b"XMP ": "xmp-data"}
_ICC, _ALPHA, _EXIF, _XMP = 0x20, 0x10, 0x08, 0x04


def is_lossless_webp(file: BinaryIO) -> bool:
    """Return whether the file stores its pixels exactly."""
    return any(name == b"VP8L" for name, _ in _chunks(file))


def read_webp(file: BinaryIO) -> Contents:
    """Return what a WebP holds beside its pixels."""
    contents = Contents()
    left_out = []
    for name, length in _chunks(file):
        if name in _KEYS:
            contents.set_first(_KEYS[name], file.read(length).removeprefix(b"Exif\0\0"))
        elif name not in _PIXELS:
            left_out.append(printable(name.strip()))
    if left_out:
        named = ", ".join(dict.fromkeys(left_out))
        contents.notes.append(f"Its WebP chunks {named} are left out.")
    length = int.from_bytes(read_at(file, 4, 4), "little")
    if note := trailer_note(file, 8 + length + length % 2):
        contents.notes.append(note)
    return contents


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of the chunks, the file at their body."""
    end = 8 + int.from_bytes(read_at(file, 4, 4), "little")
    position = 12
    while position < end and len(head := read_at(file, position, 8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        position += 8 + length + length % 2


def with_contents(webp: bytes, contents: Contents, width: int, height: int) -> bytes:
    """Return a WebP file with contents in place of its own metadata.

    Args:
        webp: a file as libvips writes it.
        contents: what is to stand in it; what WebP cannot hold is left out.
        width: pixels.
        height: likewise.
    """
    file, metadata = io.BytesIO(webp), contents.metadata
    pixels = [(name, file.read(length)) for name, length in _chunks(file)]
    pixels = [(name, body) for name, body in pixels if name in (b"ALPH", b"VP8 ", b"VP8L")]
    found = {name: metadata[key] for name, key in _KEYS.items() if metadata.get(key)}
    names = {name for name, _ in pixels}
    if not found and b"ALPH" not in names:
        return _riff(pixels)
    lossless = next((body for name, body in pixels if name == b"VP8L"), b"")
    alpha = b"ALPH" in names or bool(lossless[4:5] and lossless[4] & 0x10)
    flags = (b"ICCP" in found) * _ICC | alpha * _ALPHA
    flags |= (b"EXIF" in found) * _EXIF | (b"XMP " in found) * _XMP
    head = bytes([flags, 0, 0, 0])
    head += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    profile = [(b"ICCP", found[b"ICCP"])] if b"ICCP" in found else []
    behind = [(name, found[name]) for name in (b"EXIF", b"XMP ") if name in found]
    return _riff([(b"VP8X", head), *profile, *pixels, *behind])


def _riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
