"""What a TIFF file says of its picture beside its pixels."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from cmudrn.image.containers import Contents, Density
from cmudrn.image.directories import (
    Tags,
    Value,
    make_block,
    numbers,
    open_block,
    read_directory,
    with_tags,
)
from cmudrn.image.exif import read_tags

_X_RESOLUTION, _Y_RESOLUTION, _UNIT, _ORIENTATION = 282, 283, 296, 274
_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_BYTE, _SHORT, _RATIONAL, _UNDEFINED = 1, 3, 5, 7
_UNITS = {1: "", 2: "inch", 3: "cm"}
_MAX_BYTES = 32 << 20  # of the metadata of a file


def read_tiff(file: BinaryIO, place: int | None) -> Contents:
    """Return what a TIFF file holds beside its pixels.

    Args:
        file: a TIFF file; its position moves.
        place: where the picture's directory stands; the first one when left out.
    """
    contents = Contents()
    if not (opened := open_block(file)):
        return contents
    layout, first = opened
    place = first if place is None else place
    tags, left_out = read_tags(file, place)
    if tags:
        contents.metadata["exif-data"] = make_block(tags)
    if left_out:
        named = ", ".join(map(str, left_out))
        contents.notes.append(f"Its TIFF tags {named} are left out.")
    wanted = {_XMP, _IPTC, _PHOTOSHOP, _ICC, _X_RESOLUTION, _Y_RESOLUTION, _UNIT}
    own = read_directory(file, layout, place, wanted, _MAX_BYTES)
    contents.set_first("xmp-data", _bytes(own, _XMP))
    contents.set_first("icc-profile-data", _bytes(own, _ICC))
    contents.set_first("iptc-data", _iptc(own))
    contents.add_resources(_bytes(own, _PHOTOSHOP))
    contents.density = _density(own)
    return contents


def orientation_in(file: BinaryIO, place: int | None) -> int:
    """Return the orientation that a directory of a TIFF file tells, 1 to 8."""
    if not (opened := open_block(file)):
        return 1
    layout, first = opened
    tags = read_directory(file, layout, first if place is None else place, {_ORIENTATION})
    found = numbers(tags.get(_ORIENTATION))
    return int(found[0]) if found and found[0] in range(1, 9) else 1


def _bytes(tags: Tags, tag: int) -> bytes:
    value = tags.get(tag)
    return value.data if isinstance(value, Value) else b""


def _iptc(tags: Tags) -> bytes:
    """Return bare IPTC data; some programs store it as whole words in either byte order."""
    data = _bytes(tags, _IPTC)
    if data[:1] != b"\x1c" and data[3:4] == b"\x1c":
        data = bytes(np.frombuffer(data[: len(data) // 4 * 4], "<u4").byteswap().tobytes())
    return data.rstrip(b"\0") if data[:1] == b"\x1c" else data


def _density(tags: Tags) -> Density | None:
    x, y = (numbers(tags.get(tag)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    unit = _UNITS.get(int((numbers(tags.get(_UNIT)) or [2])[0]), "")
    if not x or not y or not (0 < x[0] < 1e9 and 0 < y[0] < 1e9):
        return None
    return Density(_exact(tags, _X_RESOLUTION), _exact(tags, _Y_RESOLUTION), unit)  # type: ignore[arg-type]


def _exact(tags: Tags, tag: int) -> Fraction:
    value = tags[tag]
    if isinstance(value, Value) and value.kind == _RATIONAL:
        return Fraction(*struct.unpack("<II", value.data[:8]))
    return Fraction(numbers(value)[0]).limit_denominator(1000)


def with_contents(tiff: bytes, contents: Contents) -> bytes:
    """Return a TIFF file with contents in place of its own metadata.

    Args:
        tiff: a file as libvips writes it.
        contents: what is to stand in it.
    """
    metadata = contents.metadata
    block = metadata.get("exif-data", b"")
    tags = dict(read_tags(io.BytesIO(block))[0]) if block else {}
    keys = {"xmp-data": _XMP, "icc-profile-data": _ICC, "iptc-data": _IPTC}
    for key, tag in {**keys, "photoshop-data": _PHOTOSHOP}.items():
        if data := metadata.get(key):
            kind = _UNDEFINED if tag in (_ICC, _IPTC) else _BYTE
            tags[tag] = Value(kind, data)
    density = contents.density or _density_of_block(block)
    if density is not None:
        tags |= _density_tags(density)
    without = frozenset({_X_RESOLUTION, _Y_RESOLUTION, _UNIT, _ORIENTATION})
    return with_tags(tiff, tags, without)


def _density_of_block(block: bytes) -> Density | None:
    file = io.BytesIO(block)
    if not (opened := open_block(file)):
        return None
    return _density(read_directory(file, *opened, {_X_RESOLUTION, _Y_RESOLUTION, _UNIT}))


def _density_tags(density: Density) -> dict[int, Value | Tags]:
    unit = {"": 1, "inch": 2, "cm": 3, "m": 3}[density.unit]
    x, y = density.per("cm") if density.unit == "m" else (density.x, density.y)
    tags: dict[int, Value | Tags] = {_UNIT: Value(_SHORT, unit.to_bytes(2, "little"))}
    for tag, axis in ((_X_RESOLUTION, x), (_Y_RESOLUTION, y)):
        ratio = axis
        while max(ratio.as_integer_ratio()) >= 1 << 32:
            ratio = ratio.limit_denominator(ratio.denominator // 2 or 1)
        tags[tag] = Value(_RATIONAL, struct.pack("<II", *ratio.as_integer_ratio()))
    return tags
