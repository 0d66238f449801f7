"""Every value of every tag that says what the numbers of a picture mean: a row of the docs each."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from support.tiff_files import make_tiff, plain_entries

from cmudrn.errors import UnsupportedImageError
from cmudrn.image import Pixels, read_picture

DOCS = Path(__file__).parents[2] / "docs" / "image-files.md"
RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (6, 8), np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 3), np.uint8)
RGBA = RNG.integers(1, 256, (6, 8, 4), np.uint8)


def tiff(pixels: Pixels, photometric: int, **tags: list[int]) -> bytes:
    """Return a TIFF of (H, W) or (H, W, C) samples; a tag is given as t262=[1]."""
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    bits = 8 * pixels.dtype.itemsize
    entries = plain_entries(pixels.shape[1], pixels.shape[0], samples, bits, photometric)
    entries.update({int(tag[1:]): (3, value) for tag, value in tags.items()})
    return make_tiff((entries, pixels.tobytes()))


def packed(bits: int, photometric: int = 1, **tags: list[int]) -> bytes:
    entries = plain_entries(8, 6, 1, bits, photometric)
    entries.update({int(tag[1:]): (3, value) for tag, value in tags.items()})
    return make_tiff((entries, bytes(range(6 * bits))))


def unpacked(bits: int) -> Pixels:
    digits = np.unpackbits(np.arange(6 * bits, dtype=np.uint8)).reshape(6, 8, bits)
    values = (digits * (1 << np.arange(bits)[::-1])).sum(axis=2)
    return (values * (255 // ((1 << bits) - 1))).astype(np.uint8)


def pages(first: dict[int, int], second: dict[int, int], **below: int) -> bytes:
    def page(size: tuple[int, int], tags: dict[int, int]) -> tuple[Any, bytes]:
        image = RGB[: size[1], : size[0]]
        entries = plain_entries(*size, 3, 8, 2)
        entries.update({tag: (4, [value]) for tag, value in tags.items()})
        return entries, image.tobytes()

    inner = None
    if below:
        inner = page((8, 6), {int(tag[1:]): value for tag, value in below.items()})
    found = [page((8, 6), first)]
    if second is not ONE:
        found.append(page((4, 3), second))
    return make_tiff(*found, below=inner)


ONE: dict[int, int] = {}
FLOATS = RNG.random((6, 8, 3), np.float32)
MAP = [int(value) for value in RNG.integers(0, 256, 768)]
LAB = {4: "mask", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32844: "LogL", 32845: "LogLuv"}
UNREAD = {6: "old-style JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34712: "JPEG 2000"}


def divided() -> Pixels:
    return np.minimum(np.rint(RGBA[..., :3] * 255.0 / RGBA[..., 3:]), 255).astype(np.uint8)


def ycbcr() -> Pixels:
    return np.asarray(Pillow.frombytes("YCbCr", (8, 6), RGB.tobytes()).convert("RGB"))


Row = tuple[Callable[[], bytes], Pixels | str]
"""A file, and its pixels or words of the sentence that refuses it."""

ROWS: dict[str, list[Row]] = {
    "PhotometricInterpretation 0, white is zero": [
        (lambda: tiff(GREY, 0), 255 - GREY),
        (lambda: tiff(GREY.astype(np.uint16) * 257, 0), 65535 - GREY.astype(np.uint16) * 257),
        (lambda: tiff(FLOATS[..., 0], 0, t339=[3]), 1 - FLOATS[..., 0]),
    ],
    "PhotometricInterpretation 1, black is zero": [(lambda: tiff(GREY, 1), GREY)],
    "PhotometricInterpretation 2, RGB": [
        (lambda: tiff(RGB, 2), RGB),
        (lambda: tiff(FLOATS, 2, t339=[3] * 3), FLOATS),
    ],
    "PhotometricInterpretation 3, palette": [
        (
            lambda: tiff(GREY, 3, t320=[value * 257 for value in MAP]),
            np.array(MAP, np.uint8).reshape(3, 256).T[GREY],
        )
    ],
    "PhotometricInterpretation 5, inks": [
        (lambda: tiff(RGBA, 5), "converted"),
        (lambda: tiff(RGBA, 5, t332=[2]), "inks other than"),
    ],
    "PhotometricInterpretation 6, YCbCr": [
        (lambda: tiff(RGB, 6, t530=[1, 1]), ycbcr()),
        (lambda: tiff(RGB, 6, t530=[2, 1]), "reduced resolution"),
        (lambda: tiff(RGB, 6), "reduced resolution"),
    ],
    "PhotometricInterpretation 4, 8, 9, 10, 32844, 32845, 51177": [
        *((partial(tiff, RGB, value), word) for value, word in LAB.items()),
        (lambda: tiff(GREY, 51177), "depth map"),
        (lambda: tiff(GREY, 77), "unknown photometric interpretation 77"),
    ],
    "PhotometricInterpretation 32803, 34892; DNGVersion; CR2": [
        (lambda: tiff(GREY, 32803), "raw file"),
        (lambda: tiff(RGB, 34892), "raw file"),
        (lambda: tiff(RGB, 2, t50706=[1, 4]), "raw file"),
        (lambda: pages({254: 1}, ONE, t262=32803), "raw file"),
    ],
    "no PhotometricInterpretation": [
        (lambda: make_tiff(({**plain_entries(8, 6), 262: (3, [])}, GREY.tobytes())), "no word"),
    ],
    "BitsPerSample 1, 2, 4": [(partial(packed, n), unpacked(n)) for n in (1, 2, 4)],
    "BitsPerSample 8, 16 and 32": [
        (lambda: tiff(RGB.astype(np.uint16) * 200, 2), RGB.astype(np.uint16) * 200),
        (lambda: tiff(FLOATS.astype(np.float16), 2, t339=[3] * 3), FLOATS.astype(np.float16)),
        (lambda: tiff(RGB.astype(np.uint32), 2), "unsigned samples of 32 bits"),
    ],
    "BitsPerSample of another number": [
        *((partial(packed, n), f"samples of {n} bits") for n in (6, 10, 12, 14, 24)),
        (lambda: tiff(FLOATS.astype(float), 2, t339=[3] * 3), "samples of 64 bits"),
        (lambda: tiff(RGB, 2, t258=[8, 8, 4]), "several types"),
    ],
    "SampleFormat 2, 5, 6": [
        (lambda: tiff(GREY.astype(np.int16), 1, t339=[2]), "signed samples"),
        (lambda: tiff(GREY.astype(np.complex64), 1, t339=[6]), "complex samples"),
    ],
    "ExtraSamples 2, alpha": [(lambda: tiff(RGBA, 2, t338=[2]), RGBA)],
    "ExtraSamples 1, multiplied alpha": [
        (lambda: tiff(RGBA, 2, t338=[1]), np.dstack([divided(), RGBA[..., 3]])),
    ],
    "ExtraSamples 0 or none": [
        (lambda: tiff(RGBA, 2, t338=[0]), RGBA[..., :3]),
        (lambda: tiff(RGBA, 2), RGBA[..., :3]),
        (lambda: tiff(RGB, 1), "beside its colours"),
    ],
    "Compression of a kind that is not read": [
        (partial(tiff, RGB, 2, t259=[value]), word) for value, word in UNREAD.items()
    ],
    "Predictor, PlanarConfiguration of an unknown number": [
        (lambda: tiff(RGB, 2, t317=[9]), "predictor 9"),
        (lambda: tiff(RGB, 2, t284=[3]), "planar configuration"),
    ],
    "NewSubfileType 1, 4; SubfileType 2": [
        (lambda: pages(ONE, {254: 1}), RGB),
        (lambda: pages(ONE, {254: 4}), RGB),
        (lambda: pages(ONE, {255: 2}), RGB),
        (lambda: pages({254: 1}, {}), RGB[:3, :4]),
        (lambda: pages(ONE, ONE, t254=1), RGB),
        (lambda: pages({254: 1}, ONE, t254=0), "directory that is not read"),
    ],
    "several pages": [(lambda: pages({254: 2}, {254: 2}), "2 pages or frames")],
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row(row: str) -> None:
    for number, (make, expected) in enumerate(ROWS[row]):
        data = make()
        if isinstance(expected, str) and expected != "converted":
            with pytest.raises(UnsupportedImageError) as caught:
                read_picture(data, name="a.tif")
            assert expected in str(caught.value) and "damaged" not in str(caught.value)
            continue
        picture = read_picture(data, name="a.tif")
        if isinstance(expected, str):
            assert expected in "".join(picture.notes)
            continue
        found = picture.pixels
        if picture.alpha is not None:
            found = np.dstack([found, picture.alpha])
        assert found.shape == expected.shape, (row, number)
        difference = np.abs(found.astype(float) - expected)
        assert difference.max() <= (1 if "YCbCr" in row or "multiplied" in row else 0), (
            row,
            number,
        )


def test_the_docs_have_the_same_rows() -> None:
    table = DOCS.read_text(encoding="utf-8").partition("## TIFF")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)
    assert [row for row in rows if row != "tag" and not row.startswith("---")] == list(ROWS)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_storage_changes_nothing(tmp_path: Path, planar: str, compression: str | None) -> None:
    array = RGB if planar == "contig" else np.ascontiguousarray(RGB.transpose(2, 0, 1))
    options: dict[str, Any] = {"planarconfig": planar, "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", **options)
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, RGB)
