"""GIF stills: what stands beside their pixels. They are read only: 256 colours hold no result.

Source: the GIF89a specification; ICC and XMP as their own specifications put them into GIF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from cmudrn.errors import DamagedImageError
from cmudrn.image.containers import Contents, printable

_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B
_COMMENT, _TEXT, _APPLICATION = 0xFE, 0x01, 0xFF
_PROFILE, _XMP = b"ICCRGBG1012", b"XMP DataXMP"
_XMP_TRAILER = b"\x01\xff\xfe\xfd"
"""How the 258 bytes begin that let readers pass over XMP data, which is in no blocks."""
_ANIMATION = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def read_gif(file: BinaryIO, name: str) -> Contents:
    """Return what a GIF holds beside its pixels.

    Args:
        file: the file; its position moves.
        name: what to call it in messages.

    Raises:
        DamagedImageError: it ends before its first picture does.
    """
    contents, left_out = Contents(), []
    for kind, body in read_blocks(file, name):
        application = body[1:12]
        if kind == _COMMENT:
            left_out.append("comments")
        elif kind == _TEXT:
            left_out.append("text that is drawn over the picture")
        elif kind == _APPLICATION and application == _XMP:
            contents.set_first("xmp-data", body[12:].partition(_XMP_TRAILER)[0])
        elif kind == _APPLICATION and application == _PROFILE:
            contents.set_first("icc-profile-data", _joined(body[12:]))
        elif kind == _APPLICATION and application not in _ANIMATION:
            left_out.append(f"{printable(application)} data")
    if left_out:
        named = ", ".join(dict.fromkeys(left_out))
        contents.notes.append(f"Its {named} (GIF) are left out.")
    return contents


def read_blocks(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield label and content of a GIF's extensions, lengths of their parts and all.

    Raises:
        DamagedImageError: it ends before its first picture does.
    """
    file.seek(0)
    data = file.read()
    position, pictures = 13 + _table(data[10:11]), 0
    while position < len(data) and data[position] != _END:
        start = position
        if data[position] == _PICTURE:
            position += 11 + _table(data[position + 9 : position + 10])
            pictures += 1
        elif data[position] == _EXTENSION:
            position += 2
        else:
            break
        body = position
        while position < len(data) and data[position]:
            position += 1 + data[position]
        if position >= len(data):
            if pictures > (data[start] == _PICTURE):
                return  # libvips takes the first picture, which is whole
            raise DamagedImageError(f"{name} is damaged or cut short.", path=name)
        if data[start] == _EXTENSION:
            yield data[start + 1], data[body:position]
        position += 1
    if not pictures:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name)


def _table(flags: bytes) -> int:
    """Return the bytes of the table of colours that some flags tell of."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _joined(parts: bytes) -> bytes:
    """Return the content of parts, each behind its length."""
    found, position = [], 0
    while position < len(parts):
        found.append(parts[position + 1 : position + 1 + parts[position]])
        position += 1 + parts[position]
    return b"".join(found)
