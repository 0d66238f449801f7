"""Whether a video file lacks its end, by what its container says of its own size.

FFmpeg reads up to where a file ends, and says nothing. Transport streams cut between two packets,
and raw streams of a codec, show no trace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cmudrn.files import open_regular

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF = bytes.fromhex("060e2b34020501010d010201")
_PACK, _END = b"\x00\x00\x01\xba", 0xB9
_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")
_USELESS = ("mfra", "free", "skip", "udta", "meta", "uuid")
"""Boxes of MP4 without which all frames can be decoded."""
_HEAD, _TAIL = 1 << 16, 1 << 20
"""Bytes that are looked at, at the begin and at the end."""
MAX_PARTS = 500_000
"""Parts of a file that are visited one after another: hours of a clip, within some seconds. Where
there are more, as in a file of nothing but empty parts, it is not known whether it is cut."""


@dataclass(frozen=True)
class Cut:
    """What is known of a file whose end is missing.

    Attributes:
        size: bytes that there are.
        said: bytes that there have to be, at least; None is unknown.
    """

    size: int
    said: int | None = None

    def __str__(self) -> str:
        if self.said is None:
            return "cut off within its last part"
        return f"cut off, {self.size:,} of at least {self.said:,} bytes are there"


class _TooManyPartsError(Exception):
    pass


class _BoundedFile:
    """A file whose parts are visited; not without end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._visited = 0
        self.read = file.read

    def seek(self, place: int) -> None:
        self._visited += 1
        if self._visited > MAX_PARTS:
            raise _TooManyPartsError
        self._file.seek(place)


def find_cut(path: Path) -> Cut | None:
    """Return what a file says of its missing end, or None where it says nothing of the kind.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _find_cut(_BoundedFile(file), size)
        except _TooManyPartsError:
            return None


def _find_cut(file: _BoundedFile, size: int) -> Cut | None:
    head = file.read(_HEAD)
    for is_of, whole_end in _WHOLE:
        if is_of(head):
            end = whole_end(file, head, size)
            return Cut(size, end) if end is not None and end > size + 1 else None
    for is_of, is_cut in _PARTS:
        if is_of(head):
            return Cut(size) if is_cut(file, head, size) else None
    return None


def _matroska(_file: _BoundedFile, head: bytes, _size: int) -> int | None:
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head):
        return None
    first = head[at + 4]
    length = 9 - first.bit_length()  # of the number, bytes
    if not 1 <= length <= 8:
        return None
    value = int.from_bytes(head[at + 4 : at + 4 + length], "big") & ((1 << 7 * length) - 1)
    unknown = value == (1 << 7 * length) - 1  # written as a stream
    return None if unknown else at + 4 + length + value


def _riff(file: _BoundedFile, _head: bytes, size: int) -> int | None:
    at = 0
    while at < size:  # AVI begins a new one after each GiB
        file.seek(at)
        part = file.read(8)
        length = int.from_bytes(part[4:8], "little")
        if part[:4] != b"RIFF" or length in (0, 2**32 - 1):
            return None
        at += 8 + length
    return at


def _are_boxes(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip")


def _boxes(file: _BoundedFile, _head: bytes, size: int) -> int | None:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        part = file.read(16)
        length, kind = int.from_bytes(part[:4], "big"), part[4:8].decode("latin-1")
        if length == 1:
            length = int.from_bytes(part[8:16], "big")
        if length and (length < 8 or not re.fullmatch(r"[\w \xa9-]{4}", kind)):
            break
        at = at + length if length else size
        if at > size and kind in _USELESS:
            return size
    return at


def _asf(_file: _BoundedFile, head: bytes, _size: int) -> int | None:
    at = head.find(_ASF_FILE)
    flags = int.from_bytes(head[at + 88 : at + 92], "little")
    is_live = bool(flags & 1)
    return None if at < 0 or is_live else int.from_bytes(head[at + 40 : at + 48], "little")


def _is_ogg_cut(file: _BoundedFile, _head: bytes, size: int) -> bool:
    tail = _tail(file, size)
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return True
    is_last = bool(page[5] & 4)
    return not is_last or 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page)


def _is_flv_cut(file: _BoundedFile, head: bytes, size: int) -> bool:
    at = int.from_bytes(head[5:9], "big") + 4
    while at + 11 <= size:
        file.seek(at + 1)
        at += 11 + int.from_bytes(file.read(3), "big") + 4
    return at != size


def _mxf(_file: _BoundedFile, head: bytes, _size: int) -> int | None:
    at = head.find(_MXF) + 16
    if len(head) < at + 48:
        return None
    long = head[at] & 0x7F if head[at] & 0x80 else 0
    values = head[at + 1 + long :]
    footer = int.from_bytes(values[24:32], "big")
    return footer + 17 if footer else None


def _is_gif_cut(file: _BoundedFile, _head: bytes, size: int) -> bool:
    return not _tail(file, size).rstrip(b"\0").endswith(b";")


def _is_yuv4mpeg_cut(file: _BoundedFile, head: bytes, size: int) -> bool:
    line = re.compile(rb"FRAME[^\n]*\n")
    first = re.match(rb"YUV4MPEG2 [^\n]*\n", head)
    length = _frame_bytes(first[0]) if first else 0
    at = first.end() if first and length else size
    while at < size:
        file.seek(at)
        begin = line.match(file.read(200))
        if not begin:
            return True
        at += begin.end() + length
    return at > size


def _frame_bytes(line: bytes) -> int:
    """Return the bytes of a frame by the first line of YUV4MPEG2; 0 where it is of another kind."""
    fields = {field[:1]: field[1:].decode("latin-1") for field in line.split()[1:]}
    sides = [fields.get(name, "") for name in (b"W", b"H")]
    found = re.fullmatch(
        r"(420|422|444|411|mono)(?:jpeg|mpeg2|paldv)?(?:p?(\d\d))?", fields.get(b"C", "420")
    )
    if not found or not all(side.isdecimal() and len(side) < 10 for side in sides):
        return 0
    width, height = map(int, sides)
    across, down = {"420": (2, 2), "422": (2, 1), "411": (4, 1)}.get(found[1], (1, 1))
    chroma = 0 if found[1] == "mono" else 2 * (-(-width // across)) * (-(-height // down))
    return (width * height + chroma) * (2 if found[2] else 1)


def _is_ivf_cut(file: _BoundedFile, head: bytes, size: int) -> bool:
    at = int.from_bytes(head[6:8], "little")
    while at + 12 <= size:
        file.seek(at)
        at += 12 + int.from_bytes(file.read(4), "little")
    return at != size


def _is_program_cut(file: _BoundedFile, _head: bytes, size: int) -> bool:
    tail = _tail(file, size)
    pack = tail[max(0, tail.rfind(_PACK)) :]
    if len(pack) < 14:
        return True
    at = 14 + (pack[13] & 7) if pack[4] >> 6 == 1 else 12  # MPEG-2, MPEG-1
    while at + 6 <= len(pack) and pack[at : at + 3] == b"\x00\x00\x01" and pack[at + 3] != _END:
        at += 6 + int.from_bytes(pack[at + 4 : at + 6], "big")
    return at > len(pack)


def _is_nut_cut(file: _BoundedFile, _head: bytes, size: int) -> bool:
    return _NUT_INDEX not in _tail(file, size)


def _is_transport_cut(_file: _BoundedFile, head: bytes, size: int) -> bool:
    for length, first in ((188, 0), (192, 4), (204, 0)):
        marks = head[first : first + 5 * length : length]
        if len(marks) > 1 and set(marks) == {0x47}:
            return size % length != 0
    return False


def _tail(file: _BoundedFile, size: int) -> bytes:
    file.seek(max(0, size - _TAIL))
    return file.read()


_WHOLE: tuple[
    tuple[Callable[[bytes], bool], Callable[[_BoundedFile, bytes, int], int | None]], ...
] = (
    (lambda head: head.startswith(_EBML), _matroska),
    (lambda head: head.startswith(b"RIFF"), _riff),
    (_are_boxes, _boxes),
    (lambda head: head.startswith(_ASF), _asf),
    (lambda head: _MXF in head, _mxf),
)
"""What tells a container by its first bytes, and where it says that it ends."""

_PARTS: tuple[tuple[Callable[[bytes], bool], Callable[[_BoundedFile, bytes, int], bool]], ...] = (
    (lambda head: head.startswith(b"OggS"), _is_ogg_cut),
    (lambda head: head.startswith(b"FLV"), _is_flv_cut),
    (lambda head: head.startswith(b"GIF8"), _is_gif_cut),
    (lambda head: head.startswith(b"YUV4MPEG2 "), _is_yuv4mpeg_cut),
    (lambda head: head.startswith(b"DKIF"), _is_ivf_cut),
    (lambda head: head.startswith(b"nut/multimedia container"), _is_nut_cut),
    (lambda head: head.startswith(_PACK), _is_program_cut),
    (lambda _: True, _is_transport_cut),
)
"""The same of those that only say how long their parts are: whether the last one is cut."""
