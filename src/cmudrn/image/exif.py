"""EXIF blocks and the tags of TIFF files: one structure, directories of values, byte by byte.

libvips reads hardly any tag of a TIFF file, and its EXIF library rewrites what cameras note in
their own way (maker notes) so that no program can read it any more. Here only the first directory
is written anew, behind all others, and whatever that one points to keeps its bytes and its place.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from cmudrn.image.containers import read_at

_PREFIX = b"Exif\0\0"
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
POINTERS = (_EXIF, _GPS, _INTEROPERABILITY)
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 274, 282, 283, 296
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_WIDTH, _HEIGHT = 40962, 40963

_CARRIED = frozenset(
    # title, description, make, model, software, date, artist, computer, ratings, copyright
    {269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, _EXIF, _GPS}
    | set(range(40091, 40096))  # Windows' title, comment, author, keywords and subject
)
_STORAGE = frozenset(
    {254, 255, *range(256, 269), *range(273, 300), 301, *range(317, 326), 330, *range(332, 348)}
    | {529, 530, 531, 532}  # how the pixels are stored
    | {700, 33723, 34377, 34675}  # XMP, IPTC, Photoshop's and ICC data, which libvips carries
)

_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
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

_MAX_ENTRIES, _MAX_BYTES = 512, 1 << 22  # of one, of all: more than any camera writes
_MAX_PER_MM = 40_000  # a million pixels an inch; more is damage


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


def bare(exif: bytes) -> bytes:
    """Return an EXIF block without the prefix that JPEG gives it."""
    return exif.removeprefix(_PREFIX)


def without_thumbnail(block: bytes) -> bytes:
    """Return a bare EXIF block without its second directory, which shows the picture as it was."""
    file = io.BytesIO(block)
    if not (opened := open_block(file)) or _entries(file, *opened) is None:
        return block
    layout, first = opened
    link = first + layout.size(read_number(layout.count, file, first)) - layout.address.size
    second = read_number(layout.address, file, link)
    thumbnail = _read(file, layout, second, {_THUMBNAIL, _THUMBNAIL_LENGTH}) if second else {}
    start, length = _whole(thumbnail.get(_THUMBNAIL)), _whole(thumbnail.get(_THUMBNAIL_LENGTH))
    cleared = bytearray(block)
    if second:
        cleared[link : link + layout.address.size] = bytes(layout.address.size)
    if 0 < start < len(block):
        end = min(start + length, len(block))
        cleared[start:end] = bytes(end - start)
        if end >= len(block) - 1:  # it stands last, as nearly always: nothing else moves
            del cleared[start:]
    return bytes(cleared)


def upright(
    block: bytes, width: int, height: int, resolution: tuple[float, float] | None
) -> bytes | None:
    """Return a bare EXIF block for a picture that was turned upright, or None if it is damaged.

    Args:
        block: as read.
        width: of the picture, pixels.
        height: likewise.
        resolution: horizontal and vertical pixels per millimetre; None, and what cannot be, leaves
            what the block says.
    """
    file = io.BytesIO(block)
    if not (opened := open_block(file)) or (entries := _entries(file, *opened)) is None:
        return None
    layout, _ = opened
    patched = bytearray(block)
    if _EXIF in entries:
        inner = _entries(file, layout, read_address(layout, entries[_EXIF][1])) or {}
        for tag, side in ((_WIDTH, width), (_HEIGHT, height)):
            if tag in inner:
                field = layout.address.pack(side)
                layout.entry.pack_into(patched, inner[tag][0], tag, _LONG, 1, field)
    tags: dict[int, Value | Tags] = {_ORIENTATION: Value(_SHORT, b"\1\0")}
    if resolution and all(0 < axis < _MAX_PER_MM for axis in resolution):
        for tag, axis in zip((_X_RESOLUTION, _Y_RESOLUTION), resolution, strict=True):
            inches = Fraction(axis * 25.4).limit_denominator(1000)
            tags[tag] = Value(_RATIONAL, struct.pack("<II", *inches.as_integer_ratio()))
        tags[_RESOLUTION_UNIT] = Value(_SHORT, b"\2\0")
    return with_tags(bytes(patched), tags)


def read_tags(file: BinaryIO, place: int | None = None) -> tuple[Tags, list[int]]:
    """Return what a TIFF file or bare EXIF block says of its picture, and the tags left out.

    Damaged values are passed over. The tags left out do not count those of how the pixels are
    stored, nor those that libvips carries.

    Args:
        file: the file; its position moves.
        place: where the picture's directory stands; the first one when left out.
    """
    if not (opened := open_block(file)):
        return {}, []
    layout, first = opened
    place = first if place is None else place
    carried = _read(file, layout, place, _CARRIED)
    present = set(_entries(file, layout, place) or {})
    return carried, sorted(present - _STORAGE - set(carried))


def read_directory(file: BinaryIO, layout: Layout, place: int, wanted: Set[int]) -> Tags:
    """Return the wanted tags of a directory, 64 kB at most; damaged ones are passed over."""
    return _read(file, layout, place, wanted, _Above(left=[1 << 16]))


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


def with_tags(data: bytes, tags: Tags) -> bytes:
    """Return a TIFF file or bare EXIF block with tags in its first directory, old ones replaced.

    The directory moves to the end; nothing else does.
    """
    file = io.BytesIO(data)
    opened = open_block(file)
    if not opened or not tags:
        return data
    layout, first = opened
    old = {tag: raw for tag, (_, raw) in (_entries(file, layout, first) or {}).items()}
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


def _entries(file: BinaryIO, layout: Layout, position: int) -> dict[int, tuple[int, bytes]] | None:
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
    left: list[int] = field(default_factory=lambda: [_MAX_BYTES])


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
    for tag, (_, raw) in (_entries(file, layout, position) or {}).items():
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


def _whole(value: Value | Tags | None) -> int:
    return int.from_bytes(value.data, "little") if isinstance(value, Value) else 0
