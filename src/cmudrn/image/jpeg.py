"""JPEG files: which of them are read, and what stands in their segments beside pixels."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from cmudrn.errors import UnsupportedImageError
from cmudrn.image.containers import (
    CREDENTIALS,
    SECOND_PICTURE,
    Contents,
    Density,
    iptc_resource,
    read_at,
    trailer_note,
)
from cmudrn.image.xmp import guid_of, merge_extended, split_extended

MAX_EXIF = 65_527
"""Bytes of a bare EXIF block that a JPEG's segment holds."""

_MAX_SEGMENT = 65_533

MAX_XMP = 65_504
"""Bytes of an XMP packet that a JPEG's segment holds."""

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED = b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _PHOTOSHOP = b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_BLOCK_BYTES = 1 << 20
_END, _SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_READ_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_ONE_PASS = (0xC0, 0xC1, 0xC9)
_UNREAD_FRAMES = {
    0xC3: "lossless JPEG",
    0xC5: "hierarchical JPEG",
    0xC6: "hierarchical JPEG",
    0xC7: "hierarchical JPEG",
    0xCB: "lossless JPEG with arithmetic coding",
    0xF7: "JPEG-LS",
}
_UNITS = {0: "", 1: "inch", 2: "cm"}


def check_frame(file: BinaryIO, name: str) -> bool:
    """Refuse a kind of JPEG that libvips does not read; return whether its pixels come in one pass.

    Raises:
        UnsupportedImageError: the file is lossless, hierarchical, a JPEG-LS, has no 8 bits, or
            other than 1, 3 or 4 channels.
    """
    for marker, _ in segments(file):
        if marker not in _FRAMES:
            continue
        head = file.read(6)
        if marker not in _READ_FRAMES:
            what = _UNREAD_FRAMES.get(marker, "hierarchical JPEG with arithmetic coding")
            raise UnsupportedImageError(f"{name} is a {what}, which is not read.", path=name)
        if len(head) == 6 and head[0] != 8:
            sentence = f"{name} holds samples of {head[0]} bits; JPEG files of 8 bits are restored."
            raise UnsupportedImageError(sentence, path=name)
        if len(head) == 6 and head[5] not in (1, 3, 4):
            sentence = f"{name} holds {head[5]} channels; grey, colour and CMYK JPEGs are restored."
            raise UnsupportedImageError(sentence, path=name)
        if head[1:3] == b"\0\0":
            sentence = f"{name} gives its height behind its pixels, which is not read."
            raise UnsupportedImageError(sentence, path=name)
        return marker in _ONE_PASS
    return False


def end_of_picture(file: BinaryIO) -> int | None:
    """Return the place behind the end marker of the first picture, or None where it has none."""
    position = 2
    while (found := find_marker(file, position)) is not None:
        head = read_at(file, found, 4)
        if head[1] == _END:
            return found + 2
        position = found + 2 + max(int.from_bytes(head[2:]), 2)
    return None


def find_marker(file: BinaryIO, position: int) -> int | None:
    """Return where the next marker stands, as decoders look for it; None at the end of the file."""
    while block := read_at(file, position, _BLOCK_BYTES):
        if match := _MARKER.search(block):
            return position + match.start()
        if len(block) < _BLOCK_BYTES:
            return None
        position += len(block) - 1  # a marker may lie across the end of a block
    return None


def read_jpeg(file: BinaryIO) -> Contents:
    """Return what a JPEG holds beside its pixels."""
    found = _Segments()
    for marker, length in segments(file):
        if marker in _APPLICATION or marker == _COMMENT:
            found.take(marker, file.read(length))
    if (end := end_of_picture(file)) and (note := trailer_note(file, end)):
        found.contents.notes.append(note)
    return found.finish()


class _Segments:
    """What the segments of a JPEG hold, taken one after another.

    Attributes:
        contents: what is known already.
        profile: number -> part of the colour profile.
        extended: place -> part of the extended XMP packet.
        resources: of Photoshop.
    """

    def __init__(self) -> None:
        self.contents = Contents()
        self.profile: dict[int, bytes] = {}
        self.extended: dict[int, bytes] = {}
        self.resources = b""

    def take(self, marker: int, body: bytes) -> None:
        """Take a segment."""
        if marker == _COMMENT:
            self.contents.add("jpeg-comments", _segment(marker, body))
        elif marker in (0xE0, 0xEE):  # the file's own structure, and how its colours are coded
            if body.startswith(b"JFIF\0"):
                self.contents.density = self.contents.density or _density(body)
            elif body.startswith(b"JFXX\0"):
                self.contents.notes.append("Its JFIF thumbnail is left out.")
        elif marker == 0xEB:
            signed = b"c2pa" in body or b"jumb" in body
            other = "Its segments of JPEG extensions (APP11) are left out."
            self.contents.notes.append(CREDENTIALS if signed else other)
        elif marker == 0xE2 and body.startswith((b"MPF\0", _GAIN_MAP)):
            self.contents.notes.append(SECOND_PICTURE)
        elif not self._take_metadata(marker, body):
            self.contents.add("jpeg-segments", _segment(marker, body))

    def _take_metadata(self, marker: int, body: bytes) -> bool:
        """Take a segment of a kind of metadata; return whether it was one."""
        match marker:
            case 0xE1 if body.startswith(_EXIF):
                self.contents.set_first("exif-data", body[len(_EXIF) :])
            case 0xE1 if body.startswith(_XMP):
                self.contents.set_first("xmp-data", body[len(_XMP) :])
            case 0xE1 if body.startswith(_EXTENDED):
                start = int.from_bytes(body[len(_EXTENDED) + 36 :][:4])
                self.extended[start] = body[len(_EXTENDED) + 40 :]
            case 0xE2 if body.startswith(_ICC):
                self.profile[int.from_bytes(body[12:13])] = body[14:]
            case 0xED if body.startswith(_PHOTOSHOP):
                self.resources += body[len(_PHOTOSHOP) :]
            case _:
                return False
        return True

    def finish(self) -> Contents:
        """Return what all segments together hold."""
        contents = self.contents
        contents.add_resources(self.resources)
        profile = b"".join(self.profile[key] for key in sorted(self.profile))
        contents.set_first("icc-profile-data", profile)
        packet = contents.metadata.get("xmp-data")
        if self.extended:
            parts = b"".join(self.extended[key] for key in sorted(self.extended))
            merged = merge_extended(packet, parts) if packet else None
            if merged is None:
                contents.notes.append("Its extended XMP data is damaged and left out.")
            else:
                contents.metadata["xmp-data"] = merged
        return contents


def _density(body: bytes) -> Density | None:
    unit, x, y = body[7:8], int.from_bytes(body[8:10]), int.from_bytes(body[10:12])
    name = _UNITS.get(int.from_bytes(unit))
    if name is None or not x or not y or (name == "" and x == y):
        return None
    return Density(Fraction(x), Fraction(y), name)  # type: ignore[arg-type]


def segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and length of the segments before the first pixels, the file at their body."""
    position = 2
    while len(head := read_at(file, position, 4)) == 4 and head[0] == 0xFF and head[1] != _SCAN:
        if head[1] == 0xFF:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(head[2:])
        yield head[1], length - 2
        position += 2 + max(length, 2)


_OWN_BYTES = 1 << 16
"""At the start of a JPEG of libvips: its own application segments are far shorter."""


def with_contents(jpeg: memoryview, contents: Contents) -> bytes:
    """Return a JPEG file with contents in place of its own metadata.

    Args:
        jpeg: a file as libvips writes it.
        contents: what is to stand in it; what JPEG cannot hold is left out.
    """
    metadata, position = contents.metadata, 2
    for marker, length in segments(io.BytesIO(jpeg[:_OWN_BYTES])):
        if marker not in _APPLICATION:
            break
        position += 4 + length
    parts = [b"\xff\xd8", _jfif(contents.density)]
    if (exif := metadata.get("exif-data")) and len(exif) <= MAX_EXIF:
        parts.append(_segment(0xE1, _EXIF + exif))
    if xmp := metadata.get("xmp-data"):
        parts += _xmp_segments(xmp)
    if profile := metadata.get("icc-profile-data"):
        size = _MAX_SEGMENT - len(_ICC) - 2
        pieces = [profile[at : at + size] for at in range(0, len(profile), size)]
        parts += [
            _segment(0xE2, _ICC + bytes([number, len(pieces)]) + piece)
            for number, piece in enumerate(pieces[:255], 1)
        ]
    resources = metadata.get("photoshop-data", b"")
    if iptc := metadata.get("iptc-data"):
        resources = iptc_resource(iptc) + resources
    size = _MAX_SEGMENT - len(_PHOTOSHOP)
    parts += [
        _segment(0xED, _PHOTOSHOP + resources[at : at + size])
        for at in range(0, len(resources), size)
    ]
    own = [metadata.get("jpeg-segments", b""), metadata.get("jpeg-comments", b"")]
    return b"".join([*parts, *own, jpeg[position:]])


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def _jfif(density: Density | None) -> bytes:
    unit, x, y = 0, 1, 1
    if density is not None:
        unit = {"": 0, "inch": 1, "cm": 2, "m": 2}[density.unit]
        found = density.per("cm") if density.unit == "m" else (density.x, density.y)
        x, y = (min(max(round(axis), 1), 65_535) for axis in found)
    return _segment(0xE0, b"JFIF\0\1\1" + bytes([unit]) + x.to_bytes(2) + y.to_bytes(2) + b"\0\0")


def _xmp_segments(xmp: bytes) -> list[bytes]:
    """Return the segments of an XMP packet; what does not fit stands in extended ones."""
    main, extended = split_extended(xmp, MAX_XMP)
    parts = [_segment(0xE1, _XMP + main)] if main else []
    guid = guid_of(extended).encode()
    size = 65_400
    for at in range(0, len(extended), size):
        place = len(extended).to_bytes(4) + at.to_bytes(4)
        parts.append(_segment(0xE1, _EXTENDED + guid + place + extended[at : at + size]))
    return parts
