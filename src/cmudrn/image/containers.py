"""What libvips does not tell or do about a file's chain of chunks or segments."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

MAX_EXIF = 65_527
"""Bytes of a bare EXIF block that a JPEG's segment holds."""

_AFTER_HEADER = 33  # a PNG's signature and IHDR chunk
_FARTHEST = 1 << 40  # systems refuse to look farther; only damaged files ask for it
_AFTER_START = 2  # a JPEG's first marker
_PHOTOSHOP = b"Photoshop 3.0\0"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"gAMA", b"cHRM", b"cICP")
_XMP_KEYWORD = b"XML:com.adobe.xmp\0"
_METADATA_TEXTS = (
    _XMP_KEYWORD,
    b"Raw profile type exif\0",
    b"Raw profile type APP1\0",
    b"Raw profile type xmp\0",
)


def is_lossless(file: BinaryIO, kind: str) -> bool:
    """Return whether the file stores its pixels exactly."""
    if kind == "webp":
        return any(name == b"VP8L" for name, _ in _webp_chunks(file))
    return kind != "jpeg"


def is_animated_png(file: BinaryIO) -> bool:
    """Return whether a PNG announces frames, of which plain readers show only one."""
    return any(name == b"acTL" for name, _ in _png_chunks(file))


def has_second_picture(file: BinaryIO) -> bool:
    """Return whether a JPEG holds another picture behind the first (Multi-Picture Format)."""
    for marker, length in _jpeg_segments(file):
        if marker == 0xE2 and length >= 4 and file.read(4) == b"MPF\0":
            return True
    return False


def png_extras(file: BinaryIO) -> dict[str, bytes]:
    """Return the chunks of a PNG that libvips drops or garbles, as they stand in the file.

    "png-texts" are its texts but for metadata in the guise of text: XMP, which libvips reads, and
    EXIF as old programs stored it, which may tell of another orientation. "png-colours" is what
    its colours mean, where they are not sRGB, which readers assume anyway.
    """
    texts, colours, plain = [], [], False
    for name, length in _png_chunks(file, last=b"IEND"):
        if name in (*_TEXTS, *_COLOURS):
            chunk = read_at(file, file.tell() - 8, length + 12)
            if len(chunk) < length + 12:
                break  # the file ends here
            if name in _COLOURS:
                colours.append(chunk)
            elif not chunk[8:].startswith(_METADATA_TEXTS):
                texts.append(chunk)
        plain = plain or name == b"sRGB"
    if plain and not any(chunk[4:8] == b"cICP" for chunk in colours):  # cICP outranks sRGB
        colours = []
    found = {"png-texts": b"".join(texts), "png-colours": b"".join(colours)}
    return {key: chunks for key, chunks in found.items() if chunks}


def jpeg_comments(file: BinaryIO) -> bytes:
    """Return the comment segments of a JPEG as they stand in the file, which libvips drops."""
    found = []
    for marker, length in _jpeg_segments(file):
        if marker == 0xFE:
            found.append(read_at(file, file.tell() - 4, length + 4))
    return b"".join(found)


def xmp_chunk(xmp: bytes) -> bytes:
    """Return XMP as the PNG chunk that the XMP standard asks for.

    libvips writes it into a compressed Latin-1 chunk, which few readers look for.
    """
    return _png_chunk(b"iTXt", _XMP_KEYWORD + bytes(4) + xmp)


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    """Return a PNG file with more chunks in front of its pixels."""
    return png[:_AFTER_HEADER] + chunks + png[_AFTER_HEADER:]


def with_comments(jpeg: bytes, comments: bytes) -> bytes:
    """Return a JPEG file with comment segments behind its metadata, before its tables."""
    position = _AFTER_START
    for marker, length in _jpeg_segments(io.BytesIO(jpeg)):
        if not 0xE0 <= marker <= 0xEF:
            break
        position += 4 + length
    return jpeg[:position] + comments + jpeg[position:]


def with_exif(data: bytes, format: str, block: bytes) -> bytes:
    """Return a JPEG, PNG or WebP file with a bare EXIF block in place of the one it has.

    The file stays as it is where it has none, or where a JPEG's segment cannot hold the block.
    """
    file = io.BytesIO(data)
    if format == "jpeg":
        body = b"Exif\0\0" + block
        for marker, length in _jpeg_segments(file):
            start = file.tell()
            if marker == 0xE1 and file.read(6) == body[:6] and len(block) <= MAX_EXIF:
                segment = (len(body) + 2).to_bytes(2) + body
                return data[: start - 2] + segment + data[start + length :]
    elif format == "png":
        for name, length in _png_chunks(file):
            start = file.tell() - 8
            if name == b"eXIf":
                return data[:start] + _png_chunk(name, block) + data[start + 12 + length :]
    else:
        for name, length in _webp_chunks(file):
            start = file.tell() - 8
            if name == b"EXIF":
                chunk = name + len(block).to_bytes(4, "little") + block + bytes(len(block) % 2)
                chunks = data[8:start] + chunk + data[start + 8 + length + length % 2 :]
                return data[:4] + len(chunks).to_bytes(4, "little") + chunks
    return data


def iptc_records(iptc: bytes) -> bytes:
    """Return IPTC data as TIFF has it: bare, out of the Photoshop resources that JPEG puts it in.

    Empty where the resources hold no IPTC.
    """
    if not iptc.startswith(_PHOTOSHOP):
        return iptc
    position = len(_PHOTOSHOP)
    while iptc[position : position + 4] == b"8BIM":
        kind, name_length = iptc[position + 4 : position + 6], iptc[position + 6 : position + 7]
        position += 6 + (int.from_bytes(name_length) + 2) // 2 * 2  # the name fills whole words
        length = int.from_bytes(iptc[position : position + 4])
        if kind == b"\4\4":
            return iptc[position + 4 : position + 4 + length]
        position += 4 + length + length % 2
    return b""


def iptc_resource(iptc: bytes) -> bytes:
    """Return IPTC data as JPEG has it: in a Photoshop resource."""
    if iptc.startswith(_PHOTOSHOP):
        return iptc
    head = b"8BIM\4\4\0\0" + len(iptc).to_bytes(4)
    return _PHOTOSHOP + head + iptc + bytes(len(iptc) % 2)


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    position = 12
    while len(head := read_at(file, position, 8)) == 8:
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        position += 8 + length + length % 2


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def _png_chunks(file: BinaryIO, last: bytes = b"IDAT") -> Iterator[tuple[bytes, int]]:
    """Yield name and length of the chunks before last, the file at their body."""
    position = 8
    while len(head := read_at(file, position, 8)) == 8 and head[4:] != last:
        length = int.from_bytes(head[:4], "big")
        yield head[4:], length
        position += 12 + length


def _jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and length of the segments before the first pixels, the file at their body."""
    position = 2
    while len(head := read_at(file, position, 4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        length = int.from_bytes(head[2:], "big")
        yield head[1], length - 2
        position += 2 + max(length, 2)


def read_at(file: BinaryIO, position: int, length: int) -> bytes:
    """Return the bytes from a position on, fewer at the end of the file."""
    if position >= _FARTHEST:
        return b""
    file.seek(position)
    return file.read(length)
