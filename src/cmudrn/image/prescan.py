"""One pass over a file's structure before any library opens it: hostile numbers of parts end here.

A few million empty segments or chunks, or directories whose values all point at the same bytes,
keep a decoder busy for minutes and fill its memory, though the picture is small. Pixels are bounded
elsewhere, by the size that the header tells.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from cmudrn.errors import LimitExceededError, UnsupportedImageError
from cmudrn.image.containers import read_at
from cmudrn.image.directories import UNITS, open_block, read_address, read_number
from cmudrn.image.exif import bare
from cmudrn.image.gif import read_blocks
from cmudrn.image.isobmff import MAX_META, boxes, read_items
from cmudrn.image.jpeg import find_marker

MAX_PARTS = 4096
"""Chunks or segments beside those of the pixels: profiles come in 255 parts, depth maps in 400."""

MAX_SCANS = 256
"""Passes over the pixels of a JPEG; progressive ones have about ten."""

MAX_METADATA_BYTES = 32 << 20
"""Metadata of a file, unpacked."""

MAX_EXIF_BYTES = 4 << 20
"""Values of all directories of an EXIF block together."""

MAX_ENTRIES = 1 << 14
"""Of all directories of a file together."""

MAX_DIRECTORIES = 1024

_PIXEL_PART_BYTES = 1024
"""Mean size that the parts of the pixels of a PNG have at least, but for the first few thousand."""

_END, _SCAN, _APPLICATION_1, _COMMENT = 0xD9, 0xDA, 0xE1, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_EXIF_START = b"Exif\0\0"
_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
_OTHER_CODECS = (
    b"hvc1",
    b"hev1",
    b"lhv1",
    b"vvc1",
    b"evc1",
    b"avc1",
    b"j2k1",
    b"jpeg",
    b"unci",
    b"mski",
)
_STORAGE = (273, 279, 324, 325)  # where the strips and tiles of a TIFF stand, and how long they are
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965


@dataclass
class _Count:
    """What has been seen of one file.

    Attributes:
        name: what messages call it.
        parts: chunks or segments beside the pixels.
        scans: of a JPEG.
        metadata: bytes.
        directories: of TIFF tags.
        entries: of all directories.
        values: bytes of all directories.
    """

    name: str
    parts: int = 0
    scans: int = 0
    metadata: int = 0
    directories: int = 0
    entries: int = 0
    values: int = 0

    def add(self, what: str, more: int, limit: int) -> None:
        """Count more of something.

        Raises:
            LimitExceededError: it is more than the limit.
        """
        value = getattr(self, what) + more
        setattr(self, what, value)
        if value > limit:
            noun = "bytes of metadata" if what in ("metadata", "values") else what
            raise LimitExceededError(
                f"{self.name} has more {noun} than the limit of {limit:,}.",
                limit_name=what,
                limit=limit,
                value=value,
                path=self.name,
            )


def check_structure(file: BinaryIO, kind: str, length: int, name: str) -> None:
    """Refuse a file with more parts or metadata than any camera or program writes.

    What is damaged is left to the readers to tell.

    Args:
        file: a picture file; its position moves.
        kind: "jpeg", "png", "tiff", "webp", "avif" or "gif".
        length: bytes of the file.
        name: what to call it in messages.

    Raises:
        LimitExceededError: it has.
        DamagedImageError: a GIF ends before its first picture does.
        UnsupportedImageError: an AVIF holds pictures of another coding.
    """
    count = _Count(name)
    match kind:
        case "jpeg":
            _check_jpeg(file, count)
        case "png":
            _check_png(file, length, count)
        case "webp":
            _check_webp(file, count)
        case "avif":
            _check_avif(file, length, count)
        case "gif":
            for _, body in read_blocks(file, name):
                count.add("parts", 1, MAX_PARTS)
                count.add("metadata", len(body), MAX_METADATA_BYTES)
        case "tiff":
            _check_directories(file, length, count, MAX_METADATA_BYTES)


def _check_jpeg(file: BinaryIO, count: _Count) -> None:
    position = 2
    while (found := find_marker(file, position)) is not None:
        head = read_at(file, found, 4)
        marker, size = head[1], int.from_bytes(head[2:])
        if marker == _END or len(head) < 4 or size < 2:
            return
        count.add("parts", 1, MAX_PARTS)
        if marker == _SCAN:
            count.add("scans", 1, MAX_SCANS)
        elif marker in _APPLICATION or marker == _COMMENT:
            count.add("metadata", size, MAX_METADATA_BYTES)
        if marker == _APPLICATION_1:
            block = read_at(file, found + 4, size - 2)
            if block.startswith(_EXIF_START):
                _check_exif(block, count)
        position = found + 2 + size


def _check_png(file: BinaryIO, length: int, count: _Count) -> None:
    position, pixel_parts = 8, 0
    max_pixel_parts = MAX_PARTS + length // _PIXEL_PART_BYTES
    while len(head := read_at(file, position, 8)) == 8 and head[4:] != b"IEND":
        size, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"IDAT" and pixel_parts < max_pixel_parts:
            pixel_parts += 1
        else:
            count.add("parts", 1, MAX_PARTS)
            count.add("metadata", size, MAX_METADATA_BYTES)
            _check_chunk(kind, read_at(file, position + 8, size), count)
        position += 12 + size


def _check_chunk(kind: bytes, body: bytes, count: _Count) -> None:
    """Count what a chunk of a PNG holds beyond its own bytes."""
    if kind == b"eXIf":
        _check_exif(body, count)
    elif kind in (b"zTXt", b"iCCP"):
        _check_packed(body.partition(b"\0")[2][1:], count)
    elif kind == b"iTXt":  # keyword, 0, packed or not, method, language, 0, translated, 0, text
        rest = body.partition(b"\0")[2]
        if rest[:1] == b"\1":
            _check_packed(rest[2:].split(b"\0", 2)[-1], count)


def _check_packed(data: bytes, count: _Count) -> None:
    left = MAX_METADATA_BYTES - count.metadata
    try:
        unpacked = zlib.decompressobj().decompress(data, left + 1)
    except zlib.error:
        return
    count.add("metadata", len(unpacked), MAX_METADATA_BYTES)


def _check_webp(file: BinaryIO, count: _Count) -> None:
    position = 12
    while len(head := read_at(file, position, 8)) == 8:
        size, kind = int.from_bytes(head[4:], "little"), head[:4]
        count.add("parts", 1, MAX_PARTS)
        if kind not in _WEBP_PIXELS:
            count.add("metadata", size, MAX_METADATA_BYTES)
        if kind == b"EXIF":
            _check_exif(read_at(file, position + 8, size), count)
        position += 8 + size + size % 2


def _check_avif(file: BinaryIO, length: int, count: _Count) -> None:
    for box in boxes(file, 0, length):
        count.add("parts", 1, MAX_PARTS)
        if box.kind == b"meta":
            count.add("metadata", box.end - box.start, MAX_META)
    for item in read_items(file, length).items.values():
        if item.kind in _OTHER_CODECS:
            sentence = f"{count.name} is no AVIF: it holds a picture of another coding."
            raise UnsupportedImageError(sentence, path=count.name)
        count.add("parts", len(item.parts or ()), MAX_PARTS)
        if item.kind in (b"Exif", b"mime"):
            size = sum(size for _, size in item.parts or ())
            count.add("metadata", size, MAX_METADATA_BYTES)
        if item.kind == b"Exif":
            data = item.read(file)
            _check_exif(data[4 + int.from_bytes(data[:4]) :], count)


def _check_exif(block: bytes, count: _Count) -> None:
    inner = bare(block)
    _check_directories(io.BytesIO(inner), len(inner), count, MAX_EXIF_BYTES)


def _check_directories(file: BinaryIO, length: int, count: _Count, max_bytes: int) -> None:
    """Count the directories of a TIFF file or bare EXIF block, and what they point to."""
    if not (opened := open_block(file)):
        return
    layout, first = opened
    ahead, seen = [first], {0}
    while ahead:
        position = ahead.pop()
        if position in seen:
            continue
        seen.add(position)
        count.add("directories", 1, MAX_DIRECTORIES)
        entries = read_number(layout.count, file, position)
        count.add("entries", entries, MAX_ENTRIES)
        start = position + layout.count.size
        table = read_at(file, start, entries * layout.entry.size)
        whole = len(table) // layout.entry.size * layout.entry.size
        for at in range(0, whole, layout.entry.size):
            raw = table[at : at + layout.entry.size]
            tag, kind, numbers, _ = layout.entry.unpack(raw)
            if tag in (_EXIF, _GPS, _INTEROPERABILITY):
                ahead.append(read_address(layout, raw))
            elif tag not in _STORAGE and kind in UNITS:
                size = numbers * UNITS[kind] * (2 if kind in (5, 10) else 1)
                if size <= length:  # readers pass over what lies beyond the end
                    count.add("values", size, max_bytes)
        ahead.append(read_number(layout.address, file, start + entries * layout.entry.size))
