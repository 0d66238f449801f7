"""What a file holds beside its pixels, told by going through all of its parts."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import BinaryIO, Literal

_FARTHEST = 1 << 40  # systems refuse to look farther; only damaged files ask for it
_PER_METRE: dict[str, Fraction] = {
    "m": Fraction(1),
    "cm": Fraction(100),
    "inch": Fraction(10000, 254),
}
_PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC_RESOURCE, _THUMBNAIL_RESOURCES = 0x0404, (0x0409, 0x040C)

CREDENTIALS = "Its content credentials (C2PA) hold only for the file as it was and are left out."
"""What to say of a file's signed history."""

SECOND_PICTURE = "A second picture inside it (preview, depth or gain map) is left out."
"""What to say of pictures behind the first one."""


@dataclass(frozen=True)
class Density:
    """How densely the pixels of a picture are meant to stand.

    Attributes:
        x: pixels in a unit, from left to right.
        y: likewise, from top to bottom.
        unit: of length; an empty one leaves only the proportion of the two.
    """

    x: Fraction
    y: Fraction
    unit: Literal["inch", "cm", "m", ""]

    def turned(self) -> Density:
        """Return the density of the picture turned by a quarter."""
        return Density(self.y, self.x, self.unit)

    def per(self, unit: Literal["inch", "cm", "m"]) -> tuple[Fraction, Fraction]:
        """Return pixels in another unit of length; this density must have one."""
        factor = _PER_METRE[self.unit] / _PER_METRE[unit]
        return self.x * factor, self.y * factor


@dataclass
class Contents:
    """What a file holds beside its pixels.

    Attributes:
        metadata: name -> data, as in `Picture`.
        density: of the pixels, or None.
        notes: sentences about what is left out.
    """

    metadata: dict[str, bytes] = field(default_factory=dict)
    density: Density | None = None
    notes: list[str] = field(default_factory=list)

    def set_first(self, key: str, data: bytes) -> None:
        """Keep data under a name unless there is some: readers take the first."""
        if data:
            self.metadata.setdefault(key, data)

    def add(self, key: str, data: bytes) -> None:
        """Append data to what is kept under a name."""
        if data:
            self.metadata[key] = self.metadata.get(key, b"") + data

    def add_resources(self, resources: bytes) -> None:
        """Keep Photoshop resources, the IPTC data among them apart, without stale thumbnails."""
        for number, whole, body in split_resources(resources):
            if number == _IPTC_RESOURCE:
                self.set_first("iptc-data", body)
            elif number in _THUMBNAIL_RESOURCES:
                self.notes.append("A thumbnail in its Photoshop data is left out.")
            else:
                self.add("photoshop-data", whole)


def printable(name: bytes) -> str:
    """Return a name out of a file as text that a terminal may be given."""
    return "".join(c if c.isalnum() and c.isascii() else "?" for c in name.decode("latin-1"))


def split_resources(data: bytes) -> Iterable[tuple[int, bytes, bytes]]:
    """Yield number, bytes and content of each Photoshop resource."""
    data = data.removeprefix(_PHOTOSHOP)
    position = 0
    while data[position : position + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
        start, name_length = position, data[position + 6 : position + 7]
        number = int.from_bytes(data[position + 4 : position + 6])
        position += 6 + (int.from_bytes(name_length) + 2) // 2 * 2  # the name fills whole words
        length = int.from_bytes(data[position : position + 4])
        body = data[position + 4 : position + 4 + length]
        if len(body) < length:
            return
        position += 4 + length + length % 2
        yield number, data[start:position].ljust(position - start, b"\0"), body


def iptc_resource(iptc: bytes) -> bytes:
    """Return bare IPTC data as a Photoshop resource."""
    return b"8BIM\4\4\0\0" + len(iptc).to_bytes(4) + iptc + bytes(len(iptc) % 2)


def inflate(data: bytes, limit: int) -> bytes:
    """Return unpacked data, or nothing where it is damaged or longer than a limit."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, limit)
    except zlib.error:
        return b""
    return unpacked if unpacker.eof else b""


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return the bytes from a position on, fewer at the end of the file."""
    if position >= _FARTHEST:
        return b""
    file.seek(position)
    return file.read(length)


def trailer_note(file: BinaryIO, position: int) -> str | None:
    """Return what to say of the bytes behind a picture; None where there are none but zeros."""
    head = read_at(file, position, 1 << 16)
    if not head.strip(b"\0\r\n"):
        return None
    file.seek(0, 2)
    length = file.tell() - position
    file.seek(max(position, file.tell() - 4096))
    tail = file.read()
    if b"MotionPhoto_Data" in head + tail or head[4:8] == b"ftyp":
        return "The film behind the picture (motion photo) is left out."
    if head.startswith(b"\xff\xd8\xff"):
        return SECOND_PICTURE
    return f"The {length:,} bytes behind the picture are left out."
