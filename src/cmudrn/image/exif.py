"""EXIF blocks: what a restored picture makes stale is changed where it stands, and nothing moves.

libvips' EXIF library rewrites what cameras note in their own way (maker notes) so that no program
can read it any more.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from cmudrn.image.directories import (
    MAX_BYTES,
    Tags,
    find_entries,
    numbers,
    open_block,
    read_address,
    read_directory,
    read_number,
)

_PREFIX = b"Exif\0\0"
_EXIF, _GPS = 34665, 34853
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION = 274, 282, 283
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_IMAGE_WIDTH, _IMAGE_HEIGHT, _WIDTH, _HEIGHT = 256, 257, 40962, 40963
_SUBJECT_AREA, _SUBJECT_PLACE = 37396, 41492
_X_FOCAL_PLANE, _Y_FOCAL_PLANE = 41486, 41487

_SHORT, _LONG = 3, 4

_CARRIED = frozenset(
    # title, description, make, model, software, date, artist, computer, ratings, copyright
    {269, 270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, _EXIF, _GPS}
    | {285, 286, 287, 297, 301, 318, 319}  # name and place of a page, what the colours mean
    | set(range(40091, 40096))  # Windows' title, comment, author, keywords and subject
)
_STORAGE = frozenset(
    {254, 255, *range(256, 269), *range(273, 285), 288, 289, 292, 293, 296, 317}
    | {*range(320, 326), 330, *range(332, 348)}
    | {529, 530, 531, 532}  # how the pixels are stored
    | {700, 33723, 34377, 34675}  # XMP, IPTC, Photoshop's and ICC data, which libvips carries
)


def bare(exif: bytes) -> bytes:
    """Return an EXIF block without the prefix that JPEG gives it."""
    return exif.removeprefix(_PREFIX)


def orientation_of(block: bytes) -> int:
    """Return the orientation that a bare EXIF block tells, 1 to 8; 1 where it tells none."""
    file = io.BytesIO(block)
    if not (opened := open_block(file)):
        return 1
    found = numbers(read_directory(file, *opened, {_ORIENTATION}).get(_ORIENTATION))
    return int(found[0]) if found and found[0] in range(1, 9) else 1


def turn_area(area: list[int], width: int, height: int, orientation: int) -> list[int]:
    """Return a subject area in the picture turned upright.

    Args:
        area: centre, and a diameter or two sides, in pixels of the picture as stored.
        width: of the picture as stored.
        height: likewise.
        orientation: 1 to 8.
    """
    if len(area) < 2:
        return area
    x, y = area[:2]
    right, bottom = width - 1 - x, height - 1 - y
    places = {1: (x, y), 2: (right, y), 3: (right, bottom), 4: (x, bottom)}
    places |= {5: (y, x), 6: (bottom, x), 7: (bottom, right), 8: (y, right)}
    sides = area[2:][::-1] if orientation >= 5 else area[2:]
    return [max(number, 0) for number in places[orientation]] + sides


class _Patch:
    """A bare EXIF block whose numbers are changed where they stand; nothing moves.

    Attributes:
        data: the block.
        layout: of its directories.
        first: tag -> place and bytes of an entry, of the first directory.
        inner: likewise, of the directory of EXIF tags.
        second: likewise, of the directory of the thumbnail.
        link: where the place of that directory stands.
    """

    def __init__(self, block: bytes) -> None:
        file = io.BytesIO(block)
        opened = open_block(file)
        entries = find_entries(file, *opened) if opened else None
        if not opened or entries is None:
            raise ValueError("a damaged block")
        self.data = bytearray(block)
        self.layout, place = opened
        self.first = entries
        self.inner: dict[int, tuple[int, bytes]] = {}
        if _EXIF in entries:
            inner = read_address(self.layout, entries[_EXIF][1])
            self.inner = find_entries(file, self.layout, inner) or {}
        count = read_number(self.layout.count, file, place)
        self.link = place + self.layout.size(count) - self.layout.address.size
        second = read_number(self.layout.address, file, self.link)
        self.second = (find_entries(file, self.layout, second) or {}) if second else {}

    def get(self, entry: tuple[int, bytes] | None) -> list[int]:
        """Return the whole numbers of an entry."""
        place, form, count = self._where(entry)
        if not form or place + count * struct.calcsize(form) > len(self.data):
            return []
        return list(struct.unpack_from(f"{self.layout.order}{count}{form}", self.data, place))

    def put(self, entry: tuple[int, bytes] | None, values: list[int]) -> None:
        """Write whole numbers in place of as many others."""
        place, form, count = self._where(entry)
        if entry is not None and form == "H" and count == 1 and values[0] > 0xFFFF:
            tag = self.layout.entry.unpack(entry[1])[0]
            field = self.layout.address.pack(values[0])
            self.layout.entry.pack_into(self.data, entry[0], tag, _LONG, 1, field)
        elif form and count == len(values) == len(self.get(entry)):
            most = (1 << 8 * struct.calcsize(form)) - 1
            fitting = [min(value, most) for value in values]
            struct.pack_into(f"{self.layout.order}{count}{form}", self.data, place, *fitting)

    def tell_upright(self, entries: dict[int, tuple[int, bytes]]) -> None:
        """Let an orientation be 1, where there is one, also one of a wrong kind or count."""
        if entry := entries.get(_ORIENTATION):
            field = struct.pack(f"{self.layout.order}H", 1).ljust(self.layout.address.size, b"\0")
            self.layout.entry.pack_into(self.data, entry[0], _ORIENTATION, _SHORT, 1, field)

    def swap(self, entries: dict[int, tuple[int, bytes]], one: int, other: int) -> None:
        """Let two tags of the same kind change their values."""
        if one in entries and other in entries and entries[one][1][2:4] == entries[other][1][2:4]:
            for tag, source in ((one, other), (other, one)):
                place, size = entries[tag][0] + 2, self.layout.entry.size - 2
                self.data[place : place + size] = entries[source][1][2:]

    def _where(self, entry: tuple[int, bytes] | None) -> tuple[int, str, int]:
        if entry is None:
            return 0, "", 0
        place, raw = entry
        _, kind, count, field = self.layout.entry.unpack(raw)
        form = {_SHORT: "H", _LONG: "I"}.get(kind, "")
        if count > 4 or not form:
            return 0, "", 0
        inline = count * struct.calcsize(form) <= len(field)
        start = place + len(raw) - len(field) if inline else read_address(self.layout, raw)
        return start, form, count


def turn_upright(block: bytes, width: int, height: int, orientation: int) -> bytes:
    """Return a bare EXIF block for a picture that was turned upright; damaged ones stay.

    Args:
        block: as read.
        width: of the picture as stored, pixels.
        height: likewise.
        orientation: 1 to 8.
    """
    try:
        patch = _Patch(block)
    except ValueError:
        return block
    for tag in (_SUBJECT_AREA, _SUBJECT_PLACE):
        entry = patch.inner.get(tag)
        if area := patch.get(entry):
            patch.put(entry, turn_area(area, width, height, orientation))
    if orientation >= 5:
        patch.swap(patch.first, _X_RESOLUTION, _Y_RESOLUTION)
        patch.swap(patch.inner, _X_FOCAL_PLANE, _Y_FOCAL_PLANE)
    patch.tell_upright(patch.first)
    return bytes(patch.data)


def has_thumbnail(block: bytes) -> bool:
    """Return whether a bare EXIF block holds a small JPEG of its picture."""
    try:
        return _THUMBNAIL in _Patch(block).second
    except ValueError:
        return False


def fit(block: bytes, width: int, height: int, thumbnail: bytes = b"") -> bytes | None:
    """Return a bare EXIF block for a picture that is upright, or None if it is damaged.

    Args:
        block: as read.
        width: of the picture, pixels.
        height: likewise.
        thumbnail: a JPEG that takes the place of the old one; empty leaves that out.
    """
    try:
        patch = _Patch(block)
    except ValueError:
        return None
    patch.tell_upright(patch.first)
    for entries, wide, high in (
        (patch.first, _IMAGE_WIDTH, _IMAGE_HEIGHT),
        (patch.inner, _WIDTH, _HEIGHT),
    ):
        patch.put(entries.get(wide), [width])
        patch.put(entries.get(high), [height])
    return _with_thumbnail(patch, thumbnail)


def _with_thumbnail(patch: _Patch, thumbnail: bytes) -> bytes:
    """Return a block with another thumbnail, or without a second directory."""
    start = (patch.get(patch.second.get(_THUMBNAIL)) or [0])[0]
    length = (patch.get(patch.second.get(_THUMBNAIL_LENGTH)) or [0])[0]
    end = min(start + length, len(patch.data))
    last = False
    if 0 < start < len(patch.data):
        patch.data[start:end] = bytes(end - start)
        last = end >= len(patch.data) - 1  # as nearly always: nothing else moves
    if not thumbnail or not start or not length:
        patch.data[patch.link : patch.link + patch.layout.address.size] = bytes(
            patch.layout.address.size
        )
        if last:
            del patch.data[start:]
        return bytes(patch.data)
    if last:
        del patch.data[start:]
    elif len(thumbnail) > end - start:
        start = len(patch.data) + len(patch.data) % 2
    patch.data.extend(bytes(max(start + len(thumbnail) - len(patch.data), 0)))
    patch.data[start : start + len(thumbnail)] = thumbnail
    patch.put(patch.second.get(_THUMBNAIL), [start])
    patch.put(patch.second.get(_THUMBNAIL_LENGTH), [len(thumbnail)])
    patch.tell_upright(patch.second)
    return bytes(patch.data)


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
    carried = read_directory(file, layout, place, _CARRIED, MAX_BYTES)
    present = set(find_entries(file, layout, place) or {})
    return carried, sorted(present - _STORAGE - set(carried))
