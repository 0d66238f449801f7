"""The boxes of AVIF files: items, their places and properties. Source: ISO/IEC 23008-12."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NamedTuple

from cmudrn.image.containers import read_at

MAX_BOXES = 8192
"""Boxes beside each other that are looked at, likewise items and their parts."""

MAX_META = 8 << 20
"""Bytes of the box of metadata."""


class Box(NamedTuple):
    """A box: its kind, and where it, its content and what follows it stand."""

    kind: bytes
    start: int
    body: int
    end: int


@dataclass
class Item:
    """Something that a file holds beside others: a coded image, EXIF or XMP data.

    Attributes:
        kind: four letters.
        mime: its media type, for the kind "mime".
        parts: (start, length) in the file; None is a place that is not read.
        properties: the boxes of its properties, header and all.
        references: kind of reference -> items that it points to.
    """

    kind: bytes = b""
    mime: bytes = b""
    parts: list[tuple[int, int]] | None = field(default_factory=list)
    properties: list[bytes] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)

    def read(self, file: BinaryIO) -> bytes:
        """Return its bytes."""
        return b"".join(read_at(file, start, length) for start, length in self.parts or ())


@dataclass
class Items:
    """What the box of metadata says.

    Attributes:
        primary: number of the picture itself.
        items: number -> item.
    """

    primary: int = 0
    items: dict[int, Item] = field(default_factory=dict)


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two positions, up to the first that is damaged."""
    for _ in range(MAX_BOXES):
        head = read_at(file, start, 16)
        if len(head) < 8 or end - start < 8:
            return
        size, kind = struct.unpack_from(">I4s", head)
        body = start + 8
        if size == 1 and len(head) == 16:
            size, body = int.from_bytes(head[8:]), start + 16
        size = size or end - start
        if size < body - start or start + size > end:
            return
        yield Box(kind, start, body, start + size)
        start += size


def read_items(file: BinaryIO, length: int) -> Items:
    """Return the items of a file; damaged parts end what is told."""
    found = Items()
    meta = next((box for box in boxes(file, 0, length) if box.kind == b"meta"), None)
    if meta is None or meta.end - meta.body > MAX_META:
        return found
    data = read_at(file, meta.body, meta.end - meta.body)
    for _, kind, body in _inner(data, 4):
        try:
            _READERS.get(kind, _nothing)(body, found)
        except (struct.error, IndexError):
            continue
    return found


def _inner(data: bytes, start: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield whole box, kind and content of the boxes in some bytes."""
    for box in boxes(io.BytesIO(data), start, len(data)):
        yield data[box.start : box.end], box.kind, data[box.body : box.end]


def _nothing(_: bytes, __: Items) -> None:
    pass


def _primary(body: bytes, found: Items) -> None:
    (found.primary,) = struct.unpack_from(">H" if body[0] == 0 else ">I", body, 4)


def _infos(body: bytes, found: Items) -> None:
    for _, kind, info in _inner(body, 6 if body[0] == 0 else 8):
        if kind != b"infe" or info[0] not in (2, 3):
            continue
        wide = info[0] == 3
        number, _, name = struct.unpack_from(">IH4s" if wide else ">HH4s", info, 4)
        item = found.items.setdefault(number, Item())
        item.kind = name
        if name == b"mime":
            texts = info[14 if wide else 12 :].split(b"\0")
            item.mime = texts[1] if len(texts) > 1 else b""


def _places(body: bytes, found: Items) -> None:
    version, sizes, more = body[0], body[4], body[5]
    widths = (sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0)
    stream = io.BytesIO(body[6:])

    def number(width: int) -> int:
        data = stream.read(width)
        if len(data) < width:
            raise IndexError
        return int.from_bytes(data)

    offset, length, base, index = widths
    left = MAX_BOXES
    for _ in range(min(number(4 if version == 2 else 2), MAX_BOXES)):
        item = found.items.setdefault(number(4 if version == 2 else 2), Item())
        method = number(2) & 15 if version else 0
        number(2)
        start = number(base)
        parts = []
        for _ in range(number(2)):
            number(index)
            parts.append((start + number(offset), number(length)))
            left -= 1
            if left < 0:
                raise IndexError
        item.parts = parts if method == 0 else None


def _properties(body: bytes, found: Items) -> None:
    properties: list[bytes] = []
    for _, kind, inner in _inner(body, 0):
        if kind == b"ipco":
            properties = [whole for whole, _, _ in _inner(inner, 0)]
        elif kind == b"ipma":
            _associations(inner, found, properties)


def _associations(body: bytes, found: Items, properties: list[bytes]) -> None:
    wide, long, position = body[0] > 0, body[3] & 1, 8
    for _ in range(min(int.from_bytes(body[4:8]), MAX_BOXES)):
        (item,) = struct.unpack_from(">I" if wide else ">H", body, position)
        position += 4 if wide else 2
        count = body[position]
        position += 1
        for _ in range(count):
            (index,) = struct.unpack_from(">H" if long else ">B", body, position)
            position += 1 + long
            index &= 0x7FFF if long else 0x7F
            if 0 < index <= len(properties):
                found.items.setdefault(item, Item()).properties.append(properties[index - 1])


def _references(body: bytes, found: Items) -> None:
    code = ">I" if body[0] else ">H"
    width = struct.calcsize(code)
    for _, kind, inner in _inner(body, 4):
        (source,) = struct.unpack_from(code, inner)
        count = int.from_bytes(inner[width : width + 2])
        ends = struct.iter_unpack(code, inner[width + 2 : width + 2 + count * width])
        found.items.setdefault(source, Item()).references[kind] = [
            end for (end,) in islice(ends, MAX_BOXES)
        ]


_READERS = {
    b"pitm": _primary,
    b"iinf": _infos,
    b"iloc": _places,
    b"iprp": _properties,
    b"iref": _references,
}
