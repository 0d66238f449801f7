"""What decides the meaning of a PNG's, WebP's, JPEG's or BMP's numbers: a row of the docs each."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from support.bmp_files import HEIGHT, WIDTH, bmp
from support.picture_parts import chunk, interlaced, png, riff, u24

from cmudrn.errors import ImageFileError, UnsupportedImageError
from cmudrn.image import Picture, Pixels, encode_picture, read_picture, unsupported_features

DOCS = Path(__file__).parents[2] / "docs" / "image-files.md"
RNG = np.random.default_rng(6)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
RGBA = RNG.integers(1, 256, (6, 8, 4), np.uint8)
SMOOTH = np.asarray(Pillow.linear_gradient("L").resize((48, 32)).convert("RGB"))
MAP = RNG.integers(0, 256, (256, 3), np.uint8)
EXIF = Pillow.Exif()
EXIF[0x0112] = 6
XMP = b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/>"


# ------------------------------------------------------------------------------------------- PNG


def few_bits(bits: int) -> tuple[Pixels, Pixels]:
    """Return packed rows, and the value of each of their pixels."""
    rows = GREY[:, :bits]
    digits = np.unpackbits(rows, axis=1).reshape(6, 8, bits)
    return rows, (digits * (1 << np.arange(bits)[::-1])).sum(axis=2)


def grey_of(bits: int) -> tuple[bytes, Pixels]:
    rows, values = few_bits(bits)
    return png(rows, bits, 0, width=8), (values * (255 // ((1 << bits) - 1))).astype(np.uint8)


def palette_of(bits: int) -> tuple[bytes, Pixels]:
    rows, values = few_bits(bits)
    return png(rows, bits, 3, (b"PLTE", MAP[: 1 << bits].tobytes()), width=8), MAP[values]


def deep(pixels: Pixels) -> Pixels:
    return pixels.astype(np.uint16) * 251


def stored(pixels: Pixels) -> Pixels:
    return deep(pixels).astype(">u2").reshape(6, -1).view(np.uint8)


def pillow_png(pixels: Pixels, **options: Any) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def transparent(colour: Pixels) -> Pixels:
    """Return RGB with the opacity that a tRNS of one colour gives."""
    opacity = np.where((colour == RGB).all(axis=2), 0, 255)
    return np.dstack([RGB, opacity]).astype(np.uint8)


def rgb_png(*parts: tuple[bytes, bytes], **options: Any) -> bytes:
    return png(RGB.reshape(6, 24), 8, 2, *parts, width=8, **options)


Row = tuple[Callable[[], bytes], Pixels | str]
"""A file, and its pixels; or words of a note or of the sentence that refuses it."""

KEPT = [(b"gAMA", bytes(4)), (b"cHRM", bytes(32)), (b"sRGB", b"\0"), (b"cICP", b"\1\x0d\0\1")]
KEPT += [(b"mDCV", bytes(24)), (b"cLLI", bytes(8))]
PROFILE = b"RGB ".rjust(20).ljust(36) + b"acsp".ljust(100)

PNG: dict[str, list[Row]] = {
    "grey of 1, 2, 4, 8 and 16 bits": [
        *((partial(lambda n: grey_of(n)[0], n), grey_of(n)[1]) for n in (1, 2, 4)),
        (lambda: png(GREY, 8, 0), GREY),
        (lambda: png(stored(GREY), 16, 0, width=8), deep(GREY)),
    ],
    "palette of 1, 2, 4 and 8 bits": [
        *((partial(lambda n: palette_of(n)[0], n), palette_of(n)[1]) for n in (1, 2, 4)),
        (lambda: png(GREY, 8, 3, (b"PLTE", MAP.tobytes())), MAP[GREY]),
    ],
    "an index outside the palette": [
        (lambda: png(GREY[:1] | 9, 8, 3, (b"PLTE", bytes(range(1, 10)))), RGB[:1] * 0),
    ],
    "RGB, grey with alpha, RGB with alpha; 8 and 16 bits": [
        (rgb_png, RGB),
        (lambda: png(stored(RGB), 16, 2, width=8), deep(RGB)),
        (lambda: png(RGBA[..., ::3].reshape(6, 16), 8, 4, width=8), RGBA[..., ::3]),
        (lambda: png(stored(RGBA[..., ::3]), 16, 4, width=8), deep(RGBA[..., ::3])),
        (lambda: png(RGBA.reshape(6, 32), 8, 6, width=8), RGBA),
        (lambda: png(stored(RGBA), 16, 6, width=8), deep(RGBA)),
    ],
    "another colour type or depth; a side of 0; no palette": [
        *((partial(png, GREY, 8, kind), "no colour type") for kind in (1, 5, 7)),
        *((partial(png, GREY, 4, kind), "no colour type") for kind in (2, 4, 6)),
        (lambda: png(GREY, 16, 3), "no colour type 3 of 16 bits"),
        (lambda: png(GREY, 8, 0, width=0), "gives no size"),
        (lambda: png(GREY, 8, 3), "palette is missing"),
    ],
    "tRNS: a colour, or a palette's opacities": [
        (
            lambda: rgb_png((b"tRNS", RGB[2, 3].astype(">u2").tobytes())),
            transparent(RGB[2, 3]),
        ),
        (
            lambda: png(GREY, 8, 3, (b"PLTE", MAP.tobytes()), (b"tRNS", bytes(range(256)))),
            np.dstack([MAP[GREY], GREY]),
        ),
    ],
    "tRNS beside an alpha channel": [
        (lambda: png(RGBA.reshape(6, 32), 8, 6, (b"tRNS", bytes(6)), width=8), RGBA),
    ],
    "interlaced (Adam7)": [(partial(interlaced, GREY), GREY)],
    "another method of compression, filter or interlacing": [
        (partial(rgb_png, methods=b"\1\0\0"), "compression method 1"),
        (partial(rgb_png, methods=b"\0\x40\0"), "filter method 64"),
        (partial(rgb_png, methods=b"\0\0\2"), "interlace method 2"),
    ],
    "gAMA, cHRM, sRGB, cICP, mDCV, cLLI, iCCP": [
        *((partial(rgb_png, part), RGB) for part in KEPT),
        (lambda: rgb_png((b"iCCP", b"a\0\0" + zlib.compress(PROFILE))), RGB),
        (lambda: rgb_png((b"iCCP", b"a\0\0damaged")), "profile is damaged"),
    ],
    "sBIT": [(lambda: rgb_png((b"sBIT", b"\5\6\5")), "sBIT")],
    "PLTE beside RGB; sPLT": [
        (lambda: rgb_png((b"PLTE", bytes(6))), "PLTE"),
        (lambda: rgb_png((b"sPLT", b"a\0\x08" + bytes(6))), "sPLT"),
    ],
    "eXIf with an orientation": [
        (lambda: rgb_png((b"eXIf", EXIF.tobytes()[6:])), np.rot90(RGB, -1)),
    ],
    "acTL": [(lambda: rgb_png((b"acTL", bytes(8))), "an animation")],
    "a critical chunk of another kind, such as Apple's CgBI": [
        (lambda: rgb_png((b"CgBI", bytes(4))), "critical PNG chunk CgBI"),
    ],
    "no end": [
        (partial(rgb_png, end=b""), "pixels are whole"),
        (partial(rgb_png, end=chunk(b"tEXt", b"a\0text")[:-6]), "behind them is left out"),
        (lambda: rgb_png()[:-40], "damaged or cut short"),
    ],
}


# ------------------------------------------------------------------------------------------ WebP


def webp(pixels: Pixels, **options: Any) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "WEBP", **{"exact": True, **options})
    return stream.getvalue()


def shown(data: bytes) -> Pixels:
    return np.asarray(Pillow.open(io.BytesIO(data)))


def extended(flags: int, *behind: tuple[bytes, bytes]) -> bytes:
    bare = webp(RGB, lossless=True)[12:]
    pixels = (bare[:4], bare[8 : 8 + struct.unpack("<I", bare[4:8])[0]])
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + u24(7, 5)), pixels, *behind)


def one_frame() -> bytes:
    bare = webp(RGB, lossless=True)[12:]
    frame = u24(1, 1, 7, 5, 0) + b"\0" + bare
    head = b"\2\0\0\0" + u24(11, 9)
    return riff((b"VP8X", head), (b"ANIM", bytes(6)), (b"ANMF", frame))


def on_canvas() -> Pixels:
    canvas = np.zeros((10, 12, 4), np.uint8)
    canvas[2:8, 2:10] = np.dstack([RGB, np.full((6, 8), 255)])
    return canvas


def animated() -> bytes:
    more = [Pillow.fromarray(RGB[::-1])]
    return webp(RGB, lossless=True, save_all=True, append_images=more)


WEBP: dict[str, list[Row]] = {
    "VP8, lossy": [(partial(webp, SMOOTH), shown(webp(SMOOTH)))],
    "VP8L, lossless": [
        (partial(webp, RGB, lossless=True), RGB),
        (partial(webp, RGBA, lossless=True), RGBA),
    ],
    "ALPH": [
        (
            lambda: webp(np.dstack([SMOOTH, SMOOTH[..., 0]])),
            shown(webp(np.dstack([SMOOTH, SMOOTH[..., 0]]))),
        )
    ],
    "flags of VP8X without their chunks": [(lambda: extended(0x2C), RGB)],
    "ANIM": [(animated, "2 pages or frames"), (one_frame, on_canvas())],
    "ICCP, EXIF, XMP": [
        (partial(webp, RGB, lossless=True, exif=EXIF), np.rot90(RGB, -1)),
        (partial(webp, RGB, lossless=True, icc_profile=PROFILE, xmp=XMP), RGB),
        (lambda: extended(0, (b"EXIF", EXIF.tobytes())), np.rot90(RGB, -1)),
    ],
    "a chunk of another kind": [(lambda: extended(0, (b"ABCD", b"a")), "ABCD")],
    "an end that is cut off": [
        (lambda: extended(8, (b"EXIF", EXIF.tobytes()))[:-9], "damaged or cut short"),
    ],
}


# ------------------------------------------------------------------------------------------ JPEG

ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwg"
    "IyYnKSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo"
    "KCgoKCgoKCgoKCgoKCj/yQARCAAIAAgDAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwB0yuH5tnUf/9k="
)
"""Pillow's gradient of 8 x 8 pixels, written by libjpeg-turbo's jpegtran -arithmetic."""


def jpeg(pixels: Pixels = SMOOTH, mode: str = "RGB", **options: Any) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).convert(mode).save(stream, "JPEG", **{"quality": 95, **options})
    return stream.getvalue()


def without_adobe(data: bytes) -> bytes:
    return re.sub(rb"\xff\xee\0\x0eAdobe.{7}", b"", data, flags=re.DOTALL)


def reframed(marker: int, body: bytes) -> bytes:
    return jpeg().replace(b"\xff\xc0\0\x11\x08", bytes([0xFF, marker, 0, 0x11]) + body)


def in_frame(place: int, other: bytes) -> bytes:
    """Return a JPEG with other bytes in its frame header: depth, height, width, channels."""
    data = jpeg()
    start = data.index(b"\xff\xc0") + 4 + place
    return data[:start] + other + data[start + len(other) :]


def ycck(data: bytes) -> bytes:
    place = data.index(b"Adobe") + 11
    return data[:place] + b"\2" + data[place + 1 :]


GRADIENT = np.asarray(Pillow.linear_gradient("L").resize((8, 8)).convert("RGB"))

JPEG: dict[str, list[Row]] = {
    "8 bits; sequential and progressive; Huffman and arithmetic coding": [
        (jpeg, shown(jpeg())),
        (partial(jpeg, mode="L"), SMOOTH[..., 0]),
        (partial(jpeg, progressive=True), shown(jpeg())),
        (lambda: ARITHMETIC, GRADIENT),
    ],
    "Adobe transform 0 and 1, none": [
        (partial(jpeg, keep_rgb=True), SMOOTH),
        (lambda: without_adobe(jpeg()), shown(jpeg())),
    ],
    "colours of a reduced resolution (4:2:2, 4:2:0)": [
        (partial(jpeg, subsampling=1), SMOOTH),
        (partial(jpeg, subsampling=2), SMOOTH),
    ],
    "12 bits, lossless, hierarchical, JPEG-LS": [
        (partial(reframed, 0xC1, b"\x0c"), "12 bits"),
        (partial(reframed, 0xC3, b"\x08"), "lossless JPEG"),
        (partial(reframed, 0xC5, b"\x08"), "hierarchical"),
        (partial(reframed, 0xF7, b"\x08"), "JPEG-LS"),
    ],
    "CMYK and YCCK": [
        (partial(jpeg, mode="CMYK"), "CMYK colours were converted"),
        (lambda: ycck(jpeg(mode="CMYK")), "CMYK colours were converted"),
    ],
    "2 channels; a height of 0": [
        (partial(in_frame, 5, b"\2"), "2 channels"),
        (partial(in_frame, 1, b"\0\0"), "height"),
    ],
    "no end marker": [
        (lambda: jpeg()[:-2], "pixels are whole"),
        (lambda: jpeg()[:-40], "damaged or cut short"),
    ],
}


# ------------------------------------------------------------------------------------------- BMP

WORDS = RNG.bytes(4 * WIDTH * HEIGHT)
FOUR = np.frombuffer(WORDS, np.uint8).reshape(HEIGHT, WIDTH, 4)[::-1][..., [2, 1, 0, 3]]
COLOURS = RNG.bytes(1024)
RUNS = (b"\3\x09\0\4\1\2\3\4\0\0" * HEIGHT) + b"\0\1"
HALVES = (b"\3\x12\0\4\x34\x56\0\0" * HEIGHT) + b"\0\1"


def opened(data: bytes) -> Pixels:
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


def filled(value: int) -> bytes:
    words = bytearray(WORDS)
    words[3::4] = bytes([value]) * (WIDTH * HEIGHT)
    return bmp(40, 32, bytes(words))


def small(bits: int) -> bytes:
    stride = (WIDTH * bits + 31) // 32 * 4
    return bmp(40, bits, WORDS[: stride * HEIGHT], palette=COLOURS[: 4 << bits])


WINDOWS = [bmp(size, 24, WORDS[: 24 * HEIGHT]) for size in (12, 40, 108, 124)]
WINDOWS.append(bmp(40, 24, WORDS[: 24 * HEIGHT], height=-HEIGHT))
PACKED = [small(bits) for bits in (1, 4, 8)] + [bmp(40, 8, RUNS, 1, palette=COLOURS)]
PACKED.append(bmp(40, 4, HALVES, 2, palette=COLOURS[:64]))

BMP: dict[str, list[Row]] = {
    "1, 2, 4, 8 bits with a palette, plain or as runs (RLE4, RLE8)": [
        *((partial(bytes, data), opened(data)) for data in PACKED),
    ],
    "16, 24, 32 bits; bit fields of any width": [
        (lambda: bmp(40, 24, WORDS[: 24 * HEIGHT]), opened(bmp(40, 24, WORDS[: 24 * HEIGHT]))),
        (lambda: bmp(40, 32, WORDS, 3, (0xFF, 0xFF00, 0xFF0000)), FOUR[..., 2::-1]),
    ],
    "opacity in a bit field": [
        (lambda: bmp(56, 32, WORDS, 3, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), FOUR),
    ],
    "the fourth byte of a pixel without bit fields": [
        (partial(bmp, 40, 32, WORDS), "does not use"),
        (partial(bmp, 40, 32, WORDS), FOUR[..., :3]),
        (partial(filled, 0), FOUR[..., :3]),
        (partial(filled, 255), FOUR[..., :3]),
    ],
    "headers of Windows (40 to 124 bytes) and of OS/2 1 (12 bytes)": [
        *((partial(bytes, data), opened(data)) for data in WINDOWS[:-1]),
    ],
    "rows from the top or the bottom": [
        *((partial(bytes, data), opened(data)) for data in WINDOWS[2:]),
    ],
    "a JPEG, PNG or inks inside; headers of OS/2 2": [
        (partial(bmp, 40, 24, b"", 4), "a JPEG"),
        (partial(bmp, 40, 24, b"", 5), "a PNG"),
        (partial(bmp, 40, 24, b"", 11), "inks"),
        (partial(bmp, 16, 24, WORDS), "OS/2 2"),
    ],
}  # fmt: skip

TABLES = {"PNG": PNG, "WebP": WEBP, "JPEG": JPEG, "BMP": BMP}
LOSSY = ("JPEG", "VP8, lossy", "ALPH")


@pytest.mark.parametrize(
    "table, row", [(table, row) for table, rows in TABLES.items() for row in rows]
)
def test_every_row(table: str, row: str) -> None:
    for number, (make, expected) in enumerate(TABLES[table][row]):
        data = make()
        if isinstance(expected, str):
            assert expected in told(data), (row, number)
            continue
        picture = read_picture(data, name="a")
        found = pixels_of(picture)
        assert found.shape == expected.shape and found.dtype == expected.dtype, (row, number)
        tolerance = 4 if LOSSY[0] == table or row in LOSSY else 0
        assert np.abs(found.astype(int) - expected).max() <= tolerance, (row, number)
        again = read_picture(encode_picture(picture))
        if picture.lossless:
            assert np.array_equal(pixels_of(again), found)
        assert set(again.metadata) == set(picture.metadata)


def pixels_of(picture: Picture) -> Pixels:
    if picture.alpha is None:
        return picture.pixels
    return np.dstack([picture.pixels, picture.alpha])


def told(data: bytes) -> str:
    """Return what is said of a file: notes, or why it is refused."""
    try:
        picture = read_picture(data, name="a")
    except ImageFileError as error:
        assert not isinstance(error, UnsupportedImageError) or "damaged" not in str(error)
        return str(error)
    return " ".join(picture.notes + unsupported_features(picture, picture.format))


@pytest.mark.parametrize("table", TABLES)
def test_the_docs_have_the_same_rows(table: str) -> None:
    text = DOCS.read_text(encoding="utf-8").partition(f"## {table}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    assert [row for row in rows if row not in ("value", "part", "---")] == list(TABLES[table])
