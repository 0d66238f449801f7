"""TIFF files made tag by tag, so that every value of every tag can be said."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence

Entries = Mapping[int, tuple[int, Sequence[int]]]
"""Tag -> kind of value (3: 16 bits, 4: 32 bits, 5: fractions) and its numbers."""

_LETTERS = {1: "B", 3: "H", 4: "I", 5: "I"}


def make_tiff(*pages: tuple[Entries, bytes], below: tuple[Entries, bytes] | None = None) -> bytes:
    """Return a TIFF file of pages, least byte first.

    Args:
        pages: tags of each page and its pixels, in one strip.
        below: a directory that the first page points to (SubIFDs).
    """
    body, links = b"", []
    place = 0
    if below is not None:
        place = 8
        body = _directory(place, *below)
    for number, (entries, pixels) in enumerate(pages):
        start = 8 + len(body)
        inner = {330: (4, [place])} if place and number == 0 else {}
        body += _directory(start, {**entries, **inner}, pixels)
        links.append((start, len({**entries, **inner})))
    data = bytearray(b"II*\0" + struct.pack("<I", links[0][0]) + body)
    for (start, _), (following, _) in itertools.pairwise(links):
        entries_here = struct.unpack_from("<H", data, start)[0]
        struct.pack_into("<I", data, start + 2 + 12 * entries_here, following)
    return bytes(data)


def plain_entries(
    width: int, height: int, samples: int = 1, bits: int = 8, photometric: int = 1
) -> dict[int, tuple[int, Sequence[int]]]:
    """Return the tags of a plain uncompressed picture."""
    return {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [1]),
        262: (3, [photometric]),
        277: (3, [samples]),
        278: (4, [height]),
    }


def _directory(start: int, entries: Entries, pixels: bytes) -> bytes:
    """Return a directory with its values and pixels, to stand at start."""
    every = {**entries, 273: (4, [0]), 279: (4, [len(pixels)])}
    values_at = start + 2 + 12 * len(every) + 4
    table, values = b"", b""
    for tag in sorted(every):
        kind, found = every[tag]
        data = struct.pack(f"<{len(found)}{_LETTERS[kind]}", *found)
        if len(data) > 4:
            place = values_at + len(values)
            values += data + bytes(len(data) % 2)
            data = struct.pack("<I", place)
        count = len(found) // (2 if kind == 5 else 1)
        table += struct.pack("<HHI", tag, kind, count) + (
            b"HERE" if tag == 273 else data.ljust(4, b"\0")
        )
    table = table.replace(b"HERE", struct.pack("<I", values_at + len(values)))
    return struct.pack("<H", len(every)) + table + bytes(4) + values + pixels
