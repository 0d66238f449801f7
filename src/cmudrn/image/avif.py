"""AVIF files: what they hold beside pixels, and how it is put into them. Source: AVIF 1.1."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cmudrn.errors import UnsupportedImageError
from cmudrn.image.containers import CREDENTIALS, SECOND_PICTURE, Contents, printable
from cmudrn.image.exif import bare
from cmudrn.image.isobmff import Box, Item, Items, boxes, read_items
from cmudrn.image.picture import Pixels

BITS = 12
"""Of a channel, at most."""

_XMP = b"application/rdf+xml"
_SRGB_PRIMARIES, _UNKNOWN = 1, 2
_HIGH_RANGE = {16: "PQ", 18: "HLG"}
_KNOWN_ITEMS = (b"av01", b"grid", b"Exif")


@dataclass(frozen=True)
class _Colours:
    """What a file says of the meaning of its numbers, as ITU-T H.273 counts it."""

    primaries: int = _UNKNOWN
    transfer: int = _UNKNOWN
    matrix: int = _UNKNOWN


def is_lossless_avif(file: BinaryIO) -> bool:
    """Return whether the file says that its pixels are stored as they are, red, green and blue."""
    return _colours(_primary(_items(file))).matrix == 0


def read_avif(file: BinaryIO, name: str) -> Contents:
    """Return what an AVIF holds beside its pixels.

    Args:
        file: the file; its position moves.
        name: what to call it in messages.

    Raises:
        UnsupportedImageError: it is of high dynamic range, which other formats cannot tell of.
    """
    contents, items = Contents(), _items(file)
    primary, colours = _primary(items), _colours(_primary(items))
    if profile := _profile(primary):
        contents.set_first("icc-profile-data", profile)
    elif colours.transfer in _HIGH_RANGE:
        raise UnsupportedImageError(
            f"{name} is an AVIF of high dynamic range ({_HIGH_RANGE[colours.transfer]}); only such "
            "of standard range are restored.",
            path=name,
        )
    elif colours.primaries not in (_SRGB_PRIMARIES, _UNKNOWN):
        contents.notes.append(
            f"Its colours (primaries {colours.primaries} of H.273) are taken for those of sRGB."
        )
    for number, item in items.items.items():
        if number != items.primary:
            _add(item, items, file, contents)
    kinds = {box.kind for box in _top(file)}
    if b"uuid" in kinds:
        contents.notes.append(CREDENTIALS)
    contents.notes[:] = dict.fromkeys(contents.notes)
    return contents


def _add(item: Item, items: Items, file: BinaryIO, contents: Contents) -> None:
    """Keep what an item beside the picture holds, or say that it is left out."""
    described = items.primary in item.references.get(b"cdsc", [items.primary])
    if item.kind == b"Exif" and described:
        data = item.read(file)
        start = 4 + int.from_bytes(data[:4])  # where the TIFF header is
        contents.set_first("exif-data", data[start:] if start < len(data) else bare(data[4:]))
    elif item.kind == b"mime" and item.mime == _XMP and described:
        contents.set_first("xmp-data", item.read(file))
    elif item.kind == b"tmap" or _is_other_picture(item):
        contents.notes.append(SECOND_PICTURE)
    elif item.kind not in _KNOWN_ITEMS:
        contents.notes.append(f"Its {printable(item.mime or item.kind)} data is left out.")


def _is_other_picture(item: Item) -> bool:
    """Return whether an item is a depth map, a thumbnail or the like, and no transparency."""
    if b"thmb" in item.references:
        return True
    auxiliary = [body for body in item.properties if body[4:8] == b"auxC"]
    return any(b":alpha" not in body for body in auxiliary)


def _top(file: BinaryIO) -> list[Box]:
    return list(boxes(file, 0, file.seek(0, io.SEEK_END)))


def _items(file: BinaryIO) -> Items:
    return read_items(file, file.seek(0, io.SEEK_END))


def _primary(items: Items) -> Item:
    return items.items.get(items.primary, Item())


def _profile(item: Item) -> bytes:
    bodies = [p[8:] for p in item.properties if p[4:8] == b"colr"]
    return next((body[4:] for body in bodies if body[:4] in (b"prof", b"rICC")), b"")


def _colours(item: Item) -> _Colours:
    for body in (p[8:] for p in item.properties if p[4:8] == b"colr"):
        if body[:4] == b"nclx" and len(body) >= 11:
            return _Colours(*struct.unpack_from(">3H", body, 4))
    return _Colours()


def full_range(pixels: Pixels, bits: int) -> Pixels:
    """Return 16-bit samples that libvips shifted up, so that white is 65535.

    Args:
        pixels: uint16, `bits` of them in use, the highest ones.
        bits: of a sample in the file, 9 to 16.
    """
    most = (1 << bits) - 1
    samples = (pixels >> (16 - bits)).astype(np.uint32)
    return ((samples * 65535 + most // 2) // most).astype(np.uint16)


def with_contents(avif: bytes, contents: Contents) -> bytes:
    """Return an AVIF file with EXIF and XMP data beside its pixels.

    Args:
        avif: a file as libvips writes it, without either.
        contents: what is to stand in it; a colour profile is in it already.
    """
    added = []
    if exif := bare(contents.metadata.get("exif-data", b"")):
        added.append((b"Exif", b"", bytes(4) + exif))  # the TIFF header comes at once
    if xmp := contents.metadata.get("xmp-data"):
        added.append((b"mime", _XMP + b"\0", xmp))
    if not added:
        return avif
    file = io.BytesIO(avif)
    top = {box.kind: box for box in boxes(file, 0, len(avif))}
    meta = top[b"meta"]
    items = read_items(file, len(avif))
    number = max(items.items) + 1
    numbers = range(number, number + len(added))

    def built(shift: int, end: int) -> bytes:
        places = {key: (item.parts or [(0, 0)]) for key, item in items.items.items()}
        places = {key: [(at + shift, size) for at, size in parts] for key, parts in places.items()}
        for key, (_, _, data) in zip(numbers, added, strict=True):
            places[key] = [(end, len(data))]
            end += len(data)
        infos = [
            _box(b"infe", struct.pack(">IHH4s", 2 << 24, key, 0, kind) + b"\0" + mime)
            for key, (kind, mime, _) in zip(numbers, added, strict=True)
        ]
        links = [_box(b"cdsc", struct.pack(">HHH", key, 1, items.primary)) for key in numbers]
        return _meta(avif[meta.body : meta.end], places, infos, links)

    shift = len(built(0, 0)) - (meta.end - meta.start)
    blob = _box(b"mdat", b"".join(data for _, _, data in added))
    new = built(shift, len(avif) + shift + 8)
    return avif[: meta.start] + new + avif[meta.end :] + blob


def _meta(
    body: bytes,
    places: dict[int, list[tuple[int, int]]],
    infos: list[bytes],
    links: list[bytes],
) -> bytes:
    """Return a box of metadata with other places, more items and what they describe."""
    file, parts, linked = io.BytesIO(body), [], False
    for box in boxes(file, 4, len(body)):
        whole, content = body[box.start : box.end], body[box.body : box.end]
        if box.kind == b"iloc":
            whole = _box(b"iloc", _iloc(places))
        elif box.kind == b"iinf":
            count = int.from_bytes(content[4:6]) + len(infos)
            whole = _box(
                b"iinf", bytes(4) + struct.pack(">H", count) + content[6:] + b"".join(infos)
            )
        elif box.kind == b"iref":
            whole, linked = _box(b"iref", content + b"".join(links)), True
        parts.append(whole)
    if not linked:
        parts.append(_box(b"iref", bytes(4) + b"".join(links)))
    return _box(b"meta", body[:4] + b"".join(parts))


def _iloc(places: dict[int, list[tuple[int, int]]]) -> bytes:
    """Return the content of a box of places, of 4 bytes each."""
    entries = [bytes(4), b"\x44\x00", struct.pack(">H", len(places))]
    for number, parts in places.items():
        entries.append(struct.pack(">HHH", number, 0, len(parts)))
        entries += [struct.pack(">II", at, size) for at, size in parts]
    return b"".join(entries)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body
