"""Windows bitmaps of every kind, with Pillow as an independent reader."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image as Pillow
from support.bmp_files import HEIGHT, WIDTH, bmp

from cmudrn.errors import DamagedImageError, UnsupportedImageError
from cmudrn.image import Pixels, read_picture

RNG = np.random.default_rng(3)
ROWS = {bits: RNG.bytes((WIDTH * bits + 31) // 32 * 4 * HEIGHT) for bits in (8, 16, 24, 32)}
PALETTE = RNG.bytes(1024)
RUNS = {
    1: (b"\3\x09\0\4\1\2\3\4\0\0" * HEIGHT) + b"\0\1",
    2: (b"\3\x12\0\4\x34\x56\0\0" * HEIGHT) + b"\0\1",
}


FILES = {
    "16 bits": bmp(40, 16, ROWS[16]),
    "16 bits 565": bmp(40, 16, ROWS[16], 3, (0xF800, 0x7E0, 0x1F)),
    "OS/2, 24 bits": bmp(12, 24, ROWS[24]),
    "OS/2, palette": bmp(12, 8, ROWS[8], palette=PALETTE[:768]),
    "version 2": bmp(52, 32, ROWS[32], 3, (0xFF0000, 0xFF00, 0xFF)),
    "version 3, RGBA": bmp(56, 32, ROWS[32], 3, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "version 4": bmp(108, 24, ROWS[24]),
    "from the top": bmp(40, 24, ROWS[24], height=-HEIGHT),
    "runs of 8 bits": bmp(40, 8, RUNS[1], 1, palette=PALETTE),
    "runs of 4 bits": bmp(40, 4, RUNS[2], 2, palette=PALETTE[:64]),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_read_as_pillow_reads_it(kind: str) -> None:
    picture = read_picture(FILES[kind])
    image = Pillow.open(io.BytesIO(FILES[kind]))
    expected = np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB")).astype(int)
    found: Pixels = picture.pixels
    if picture.alpha is not None:
        found = np.dstack([found, picture.alpha])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= ("16" in kind)  # Pillow cuts where we round


def test_two_bits() -> None:
    data = bmp(40, 2, bytes([0b00011011, 0b11100100, 0, 0]) * HEIGHT, palette=PALETTE[:16])
    colours = np.frombuffer(PALETTE[:16], np.uint8).reshape(4, 4)[:, 2::-1]
    assert np.array_equal(read_picture(data).pixels[0], colours[[0, 1, 2, 3, 3, 2, 1]])


@pytest.mark.parametrize("compression, words", [(4, "a JPEG"), (5, "a PNG"), (11, "inks")])
def test_what_is_inside_is_named(compression: int, words: str) -> None:
    with pytest.raises(UnsupportedImageError, match=words):
        read_picture(bmp(40, 24, b"", compression))


def test_narrow_runs_take_little_memory() -> None:
    """Each row of a pixel took 160 bytes."""
    height = 1 << 18
    numbers = (0, 0, 0, 58, 40, 1, height, 1, 8, 1, 0, 0, 0, 1, 0)
    data = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", *numbers) + bytes(4) + b"\0\1"
    tracemalloc.start()
    try:
        assert read_picture(data).pixels.shape == (height, 1)
        assert tracemalloc.get_traced_memory()[1] < 10 * height
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("runs", [b"", b"\3", b"\0\2", b"\0\2\1\1", b"\0\xff\1", RUNS[1][:-9]])
def test_runs_that_end_too_early(runs: bytes) -> None:
    with pytest.raises(DamagedImageError, match="cut short"):
        read_picture(bmp(40, 8, runs, 1, palette=PALETTE))
