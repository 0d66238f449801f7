"""Small image files of every kind, damage to them."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image as Pillow

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture, read_picture

MAX_PIXELS, MAX_BYTES = 4_000_000, 1 << 20
"""Limits of a trial; the sample files are far below."""

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def sample_files() -> list[bytes]:
    """Return small files of every format and pixel type, and of every way to store them."""
    rng = np.random.default_rng(2)
    files = []
    formats: dict[str, tuple[type[Any], ...]] = {
        "jpeg": (np.uint8,),
        "png": (np.uint8, np.uint16),
        "tiff": (np.uint8, np.uint16, np.float32),
        "webp": (np.uint8,),
        "avif": (np.uint8, np.uint16),
        "bmp": (np.uint8,),
    }
    for format, dtypes in formats.items():
        for dtype in dtypes:
            values = rng.random((40, 56, 3), np.float32)
            scaled = values if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
            files.append(encode_picture(Picture(scaled, format=format)))
    return files + _other_files(rng)


def _other_files(rng: np.random.Generator) -> list[bytes]:
    """Return what other programs write: metadata, palettes, progressive and packed pixels."""
    colours = Pillow.fromarray(rng.integers(0, 255, (40, 56, 3), dtype=np.uint8))
    exif = Pillow.Exif()
    exif[0x010E], exif[0x0112] = "a photograph", 6
    exif.get_ifd(0x8825)[1] = "N"
    described = {"exif": exif, "icc_profile": rng.bytes(400), "xmp": b"<x:xmpmeta/>"}
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("JPEG", colours, {"progressive": True, **described}),
        ("JPEG", colours.convert("CMYK"), {}),
        ("JPEG", colours.convert("L"), {"restart_marker_blocks": 1}),
        ("PNG", colours.convert("P"), {"exif": exif}),
        ("PNG", colours.convert("1"), {}),
        ("PNG", colours.convert("RGBA"), {"icc_profile": rng.bytes(400)}),
        ("WEBP", colours.convert("RGBA"), described),
        ("WEBP", colours, {"lossless": True}),
        ("AVIF", colours.convert("RGBA"), described),
        ("GIF", colours.convert("P"), {"transparency": 3, "comment": b"a photograph"}),
        ("GIF", colours.convert("L"), {"interlace": 1}),
        ("BMP", colours.convert("P"), {}),
        ("BMP", colours.convert("1"), {}),
        ("BMP", colours.convert("RGBA"), {}),
        ("TIFF", colours.convert("CMYK"), {}),
        ("TIFF", colours.convert("P"), {}),
    ]
    packings = ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg")
    cases += [("TIFF", colours, {"compression": packing}) for packing in packings]
    cases += [("TIFF", colours.convert("1"), {"compression": "group4"})]
    files = []
    for format, image, options in cases:
        file = io.BytesIO()
        image.save(file, format, **options)
        files.append(file.getvalue())
    return files


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with a few bytes changed, a piece cut out, doubled, or its end lost."""
    damaged = bytearray(data)
    start, stop = sorted(int(i) for i in rng.integers(0, len(damaged), 2))
    match rng.integers(5):
        case 0:
            for _ in range(int(rng.integers(1, 20))):
                damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        case 1:  # the header is where sizes and offsets are
            for _ in range(int(rng.integers(1, 6))):
                damaged[int(rng.integers(min(64, len(damaged))))] = int(rng.integers(256))
        case 2:
            del damaged[start:stop]
        case 3:
            damaged[start:start] = damaged[start:stop]
        case _:
            del damaged[stop:]
    return bytes(damaged)


def mutate_picture(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a picture file with one to three changes; the checksums of a PNG are often right."""
    for _ in range(int(rng.integers(1, 4))):
        if len(data) > 16 and rng.random() < 0.3:
            data = _with_number(data, rng)
        elif data:
            data = mutate(data, rng)
    is_png = data.startswith(b"\x89PNG\r\n\x1a\n")
    return with_right_checksums(data) if is_png and rng.random() < 0.8 else data


def _with_number(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with an extreme number of two or four bytes somewhere, in either order."""
    value, size = _NUMBERS[int(rng.integers(len(_NUMBERS)))], int(rng.choice([2, 4]))
    number = (value & (1 << 8 * size) - 1).to_bytes(size, "big" if rng.random() < 0.5 else "little")
    at = int(rng.integers(len(data) - size))
    return data[:at] + number + data[at + size :]


def with_right_checksums(png: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums of what they hold now."""
    fixed, position = bytearray(png), 8
    while position + 12 <= len(png):
        end = position + 8 + int.from_bytes(png[position : position + 4])
        if end + 4 > len(png):
            break
        fixed[end : end + 4] = zlib.crc32(png[position + 4 : end]).to_bytes(4)
        position = end + 4
    return bytes(fixed)


def try_picture(data: bytes) -> str:
    """Read a file and write it again.

    Returns "read", "read, not written", or the name of the error that refused it in one sentence.
    """
    try:
        picture = read_picture(data, max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, name="damaged.x")
    except CmudrnError as error:
        _check(error)
        return type(error).__name__
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= MAX_PIXELS
    try:
        for format in (picture.format, "tiff"):
            assert encode_picture(picture, format)
    except CmudrnError as error:
        _check(error)
        return "read, not written"
    return "read"


def _check(error: CmudrnError) -> None:
    sentence = str(error)
    assert "damaged.x" in sentence and sentence.endswith("."), sentence
    assert sentence.isprintable() and len(sentence) < 500, sentence
