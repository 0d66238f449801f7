"""Directories of values, the structure of TIFF files and EXIF blocks, byte by byte.

Only the first directory is ever written anew, behind all others, and whatever that one points to
keeps its bytes and its place: what cameras note in their own way (maker notes) holds addresses.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from cmudrn.image.containers import read_at

_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
POINTERS = (_EXIF, _GPS, _INTEROPERABILITY)
"""Tags that point to another directory."""

_LONG, _LONG8 = 4, 16
UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8} | {
    13: 4,
    16: 8,
    18: 8,
}
"""Kind of value -> bytes of one number; kinds 5 and 10 are fractions of two."""

_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 8: "i2", 9: "i4", 10: "i4"} | {
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    18: "u8",
}
"""Kind of value -> NumPy's name of one of its numbers, least byte first."""

_MAX_ENTRIES = 512  # of a directory: more than any camera writes

MAX_BYTES = 1 << 22
"""Values of an EXIF block: more than any camera writes."""


@dataclass(frozen=True)
class Value:
    """A tag's value: its kind by the TIFF standard, and its numbers, least byte first."""

    kind: int
    data: bytes


Tags = Mapping[int, "Value | Tags"]
"""A directory; a tag that points to another directory holds that one."""


@dataclass(frozen=True)
class Layout:
    """How a file writes directories: its byte order, and whether it is a BigTIFF."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        """How many entries follow."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, kind, numbers, and the value if it fits or else its address."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def address(self) -> struct.Struct:
        """A place in the file."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    def size(self, entries: int) -> int:
        """Return the bytes of a directory without its values."""
        return self.count.size + entries * self.entry.size + self.address.size

    def swap(self, kind: int, data: bytes) -> bytes:
        """Return numbers in this byte order if they are least byte first, and the reverse."""
        if self.order == "<":
            return data
        return np.frombuffer(data, f"u{UNITS[kind]}").byteswap().tobytes()


def read_directory(
    file: BinaryIO,
    layout: Layout,
    place: int,
    wanted: Set[int] | None = None,
    max_bytes: int = 1 << 16,
) -> Tags:
    """Return a directory with all below it; damaged tags are passed over.

    Args:
        file: a TIFF file or bare EXIF block; its position moves.
        layout: of its directories.
        place: where the directory stands.
        wanted: tags; all when left out.
        max_bytes: of all values; what is more is passed over.
    """
    return _read(file, layout, place, wanted, _Above(left=[max_bytes]))


def following_directory(file: BinaryIO, layout: Layout, place: int) -> int:
    """Return where the directory after one stands; 0 where it is the last."""
    entries = read_number(layout.count, file, place)
    behind = place + layout.count.size + entries * layout.entry.size
    return read_number(layout.address, file, behind)


def numbers(value: Value | Tags | None) -> list[float]:
    """Return the numbers of a value; none for a text, a directory, or nothing."""
    if not isinstance(value, Value) or value.kind not in _NUMBERS:
        return []
    found: list[float] = np.frombuffer(value.data, "<" + _NUMBERS[value.kind]).tolist()
    if value.kind not in (5, 10):
        return found
    pairs = zip(found[::2], found[1::2], strict=True)
    return [above / below if below else math.nan for above, below in pairs]


def make_block(tags: Tags) -> bytes:
    """Return tags as a bare EXIF block."""
    layout = Layout("<", False)
    entries, values = _pack(layout, tags, 8 + layout.size(len(tags)))
    return b"II*\0" + layout.address.pack(8) + _table(layout, entries) + values


def with_tags(data: bytes, tags: Tags, without: Set[int] = frozenset()) -> bytes:
    """Return a TIFF file or bare EXIF block with tags in its first directory, old ones replaced.

    Those of `without` are left out. The directory moves to the end; nothing else does.
    """
    file = io.BytesIO(data)
    opened = open_block(file)
    if not opened or not (tags or without):
        return data
    layout, first = opened
    present = find_entries(file, layout, first) or {}
    old = {tag: raw for tag, (_, raw) in present.items() if tag not in without}
    start = (len(data) + 7) // 8 * 8
    entries, values = _pack(layout, tags, start + layout.size(len(old.keys() | tags.keys())))
    head = data[: layout.address.size] + layout.address.pack(start)
    padding = bytes(start - len(data))
    return b"".join((head, data[len(head) :], padding, _table(layout, old | entries), values))


def open_block(file: BinaryIO) -> tuple[Layout, int] | None:
    """Return the layout of a file and the place of its first directory; None if it is no TIFF."""
    head = read_at(file, 0, 4)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if not order or len(head) < 4:
        return None
    layout = Layout(order, 43 in head[2:4])
    first = read_number(layout.address, file, layout.address.size)
    return (layout, first) if first else None


def find_entries(
    file: BinaryIO, layout: Layout, position: int
) -> dict[int, tuple[int, bytes]] | None:
    """Return tag -> place and bytes of its entry, or None where the directory is damaged."""
    count = read_number(layout.count, file, position)
    start, size = position + layout.count.size, layout.entry.size
    table = read_at(file, start, count * size) if count <= _MAX_ENTRIES else b""
    if len(table) < count * size or not read_at(file, start - 1, 1):
        return None
    found: dict[int, tuple[int, bytes]] = {}
    for at in range(0, count * size, size):
        raw = table[at : at + size]
        found.setdefault(layout.entry.unpack(raw)[0], (start + at, raw))  # readers take the first
    return found


@dataclass(frozen=True)
class _Above:
    """What the directories above one have left to it.

    Attributes:
        depth: how many there are.
        left: bytes of values for all of them: a small file may point to the same bytes often.
    """

    depth: int = 0
    left: list[int] = field(default_factory=lambda: [MAX_BYTES])


def _read(
    file: BinaryIO,
    layout: Layout,
    position: int,
    wanted: Set[int] | None = None,
    above: _Above | None = None,
) -> Tags:
    """Return a directory with all below it; of its tags those wanted, or all."""
    found: dict[int, Value | Tags] = {}
    above = above or _Above()
    for tag, (_, raw) in (find_entries(file, layout, position) or {}).items():
        _, kind, numbers, field = layout.entry.unpack(raw)
        if kind not in UNITS or (wanted is not None and tag not in wanted):
            continue
        if tag in POINTERS:
            place, below = read_address(layout, raw), replace(above, depth=above.depth + 1)
            if above.depth < 2 and (inner := _read(file, layout, place, None, below)):
                found[tag] = inner
            continue
        length = numbers * UNITS[kind] * (2 if kind in (5, 10) else 1)
        if length > len(field):
            fits = length <= above.left[0]
            field = read_at(file, read_address(layout, raw), length) if fits else b""
            above.left[0] -= len(field)
        if len(field) >= length:
            found[tag] = Value(kind, layout.swap(kind, field[:length]))
    return found


def _pack(layout: Layout, tags: Tags, position: int) -> tuple[dict[int, bytes], bytes]:
    """Return the entries of a directory, and what they point to, to stand at position."""
    entries, values = {}, b""
    for tag, value in tags.items():
        field = layout.address.pack(position + len(values))
        if not isinstance(value, Value):
            below = position + len(values) + layout.size(len(value))
            inner, behind = _pack(layout, value, below)
            kind, numbers, data = _LONG8 if layout.big else _LONG, 1, _table(layout, inner) + behind
        else:
            kind, data = value.kind, layout.swap(value.kind, value.data)
            numbers = len(data) // UNITS[kind] // (2 if kind in (5, 10) else 1)
            if len(data) <= len(field):
                field, data = data.ljust(len(field), b"\0"), b""
        entries[tag] = layout.entry.pack(tag, kind, numbers, field)
        values += data + bytes(len(data) % 2)
    return entries, values


def _table(layout: Layout, entries: Mapping[int, bytes]) -> bytes:
    """Return a directory, the last of its chain."""
    ordered = [entries[tag] for tag in sorted(entries)]
    return layout.count.pack(len(entries)) + b"".join(ordered) + bytes(layout.address.size)


def read_address(layout: Layout, raw: bytes) -> int:
    """Return where an entry points; a BigTIFF may hold addresses of 32 bits, too."""
    _, kind, numbers, field = layout.entry.unpack(raw)
    narrow = numbers == 1 and kind in (_LONG, 13)
    place = struct.Struct(layout.order + "I") if narrow else layout.address
    return int(place.unpack_from(field)[0])


def read_number(form: struct.Struct, file: BinaryIO, position: int) -> int:
    """Return a number in a file, or 0 behind its end."""
    data = read_at(file, position, form.size)
    return int(form.unpack(data)[0]) if len(data) == form.size else 0
