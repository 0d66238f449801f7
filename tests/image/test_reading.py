"""Reading image files, with Pillow and tifffile as independent writers."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.image import Picture, encode_picture, read_image, read_picture, unsupported_features

RGB = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)


def pillow_bytes(image: Pillow.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def tiff_bytes(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    colours: dict[str, Any] = {"photometric": "rgb" if array.ndim == 3 else "minisblack"}
    tifffile.imwrite(stream, array, **(colours | options))
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "LA"])
def test_lossless_formats_agree_with_pillow(format: str, mode: str) -> None:
    if format == "BMP" and mode == "LA":
        pytest.skip("Pillow writes no BMP with grey and alpha")
    image = Pillow.fromarray(RGB).convert(mode)
    data = pillow_bytes(image, format)
    picture = read_picture(data)
    assert picture.format == format.lower()
    grey = mode in ("L", "LA", "1")
    expected = np.asarray(image.convert("L" if grey else "RGB"))
    assert np.array_equal(picture.pixels, expected)
    read = Pillow.open(io.BytesIO(data))
    assert ("A" in read.getbands()) == (mode in ("RGBA", "LA") and format != "BMP")
    assert (picture.alpha is not None) == ("A" in read.getbands())
    if picture.alpha is not None:
        assert np.array_equal(picture.alpha, np.asarray(image.getchannel("A")))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_agree_with_pillow(format: str, mode: str) -> None:
    smooth = Pillow.linear_gradient("L").resize((60, 40)).convert(mode)
    data = pillow_bytes(smooth, format, quality=90)
    picture = read_picture(data)
    expected = np.asarray(Pillow.open(io.BytesIO(data)))
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 3  # decoders may differ


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_tiff_of_every_depth_is_exact(dtype: type[Any], shape: tuple[int, ...]) -> None:
    array = (np.random.default_rng(1).random(shape) * (1 if dtype == np.float32 else 250)).astype(
        dtype
    )
    picture = read_picture(tiff_bytes(array))
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, array)


def test_16_bit_png_is_exact() -> None:
    array = np.arange(300 * 200, dtype=np.uint16).reshape(300, 200)
    picture = read_picture(pillow_bytes(Pillow.fromarray(array), "PNG"))
    assert picture.pixels.dtype == np.uint16
    assert np.array_equal(picture.pixels, array)


def test_dark_16_bit_is_not_taken_for_8_bit() -> None:
    array = np.full((4, 4, 3), 200, np.uint16)
    image = read_picture(encode_picture(Picture(array), "png"))
    assert image.pixels.dtype == np.uint16 and (image.pixels == 200).all()


@pytest.mark.parametrize("format", ["JPEG", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(format: str, orientation: int) -> None:
    image = Pillow.linear_gradient("L").resize((48, 32)).convert("RGB")
    image.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = pillow_bytes(image, format, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    picture = read_picture(data)
    assert picture.orientation == orientation
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 3
    again = read_picture(encode_picture(picture))
    assert again.orientation == 1
    assert np.abs(again.pixels.astype(int) - expected).max() <= 40  # JPEG's second loss


def test_cmyk_is_converted_with_a_note() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:8, :, 1:3] = 255  # magenta and yellow: red
    picture = read_picture(pillow_bytes(Pillow.fromarray(ink, "CMYK"), "TIFF"))
    assert picture.pixels.shape == (16, 16, 3)
    assert picture.alpha is None
    red, white = picture.pixels[2, 2].astype(int), picture.pixels[12, 2].astype(int)
    assert red[0] > 150 and red[1:].max() < 90
    assert white.min() > 240
    assert "CMYK" in picture.notes[0]
    profile = picture.metadata["icc-profile-data"]
    assert isinstance(profile, bytes) and b"RGB" in profile[:32]


def test_metadata_is_read() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
    data = pillow_bytes(Pillow.fromarray(RGB), "JPEG", icc_profile=profile, xmp=xmp)
    metadata = read_picture(data).metadata
    assert metadata["icc-profile-data"] == profile
    assert metadata["xmp-data"] == xmp


@pytest.mark.parametrize("cut", [0, 1])
def test_the_profile_of_a_bmp_is_read(cut: int) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = RGB[::-1, :, ::-1].tobytes()  # 34 * 3 bytes a row, and two to fill it up
    rows = b"".join(pixels[at : at + 102] + bytes(2) for at in range(0, len(pixels), 102))
    head = struct.pack("<IiiHHIIiiII", 124, 34, 21, 1, 24, 0, len(rows), 0, 0, 0, 0)
    colours = bytes(16) + b"DEBM" + bytes(48)
    place = struct.pack("<IIII", 4, 124 + len(rows), len(profile), 0)
    start = struct.pack("<2sIHHI", b"BM", 138 + len(rows) + len(profile), 0, 0, 138)
    data = start + head + colours + place + rows + profile
    picture = read_picture(data[: len(data) - cut])
    assert np.array_equal(picture.pixels, RGB)
    assert picture.metadata == ({} if cut else {"icc-profile-data": profile})
    if not cut:
        assert unsupported_features(picture, "bmp") == ("BMP files are written without ICC data.",)
        written = Pillow.open(io.BytesIO(encode_picture(picture, "png")))
        assert written.info["icc_profile"] == profile


def test_a_second_picture_is_mentioned() -> None:
    pages = [Pillow.fromarray(RGB), Pillow.fromarray(RGB[::-1])]
    data = pillow_bytes(pages[0], "MPO", save_all=True, append_images=pages[1:])
    assert "second picture" in read_picture(data).notes[0]
    assert read_picture(pillow_bytes(pages[0], "JPEG")).notes == ()


@pytest.mark.parametrize("lossless", [True, False])
def test_lossless_webp_is_told_from_lossy(lossless: bool) -> None:
    image = Pillow.fromarray(RGB)
    data = pillow_bytes(image, "WEBP", lossless=lossless, icc_profile=bytes(4000))
    picture = read_picture(data)
    assert picture.lossless == lossless
    assert np.array_equal(read_picture(encode_picture(picture)).pixels, picture.pixels) == lossless


@pytest.mark.parametrize("told", ["EXIF and XMP", "XMP"])
def test_orientation_in_xmp_is_reset_with_that_of_exif(told: str) -> None:
    xmp = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF>'
    )
    exif = Pillow.Exif()
    if told == "EXIF and XMP":
        exif[0x0112] = 6
    data = pillow_bytes(Pillow.fromarray(RGB), "JPEG", xmp=xmp, exif=exif)
    kept = read_picture(data).metadata["xmp-data"]
    assert kept == (xmp.replace(b'"6"', b'"1"') if told == "EXIF and XMP" else xmp)


@pytest.mark.parametrize(
    "name",
    ["-o.png", "a[n=-1].png", "a b.png", "ü\N{SNOWMAN}.png", "new\nline.png", "100%.png", "png"],
)
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pillow_bytes(Pillow.fromarray(RGB), "PNG"))
    assert np.array_equal(read_picture(path).pixels, RGB)


def test_file_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    try:
        Path(os.fsdecode(path)).write_bytes(pillow_bytes(Pillow.fromarray(RGB), "PNG"))
    except OSError:
        pytest.skip("this file system takes only text for names")
    assert np.array_equal(read_picture(os.fsdecode(path)).pixels, RGB)


def test_read_image_is_float_rgb(tmp_path: Path) -> None:
    Pillow.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    image = read_image(tmp_path / "grey.png")
    assert image.dtype == np.float32
    assert np.allclose(image, RGB[..., :1] / 255, atol=1e-7)


# ------------------------------------------------------------------------------- refusals


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def bmp_header(width: int, height: int) -> bytes:
    return struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6
    )


@pytest.mark.parametrize("data", [png_header(30_000, 30_000), bmp_header(30_000, 30_000)])
def test_a_900_megapixel_bomb_is_refused_by_its_header(data: bytes) -> None:
    with pytest.raises(LimitExceededError, match="900,000,000 pixels"):
        read_picture(data)


def test_limits_can_be_raised_and_lowered(tmp_path: Path) -> None:
    data = pillow_bytes(Pillow.fromarray(RGB), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(data, max_pixels=21 * 34, max_bytes=len(data)).pixels.shape == RGB.shape
    for source in (data, tmp_path / "a.png"):
        with pytest.raises(LimitExceededError, match="pixels, more than the limit"):
            read_picture(source, max_pixels=21 * 34 - 1)
        with pytest.raises(LimitExceededError, match="bytes, more than the limit"):
            read_picture(source, max_bytes=len(data) - 1)


@pytest.mark.parametrize(
    "data, sentence",
    [
        (b"", "is empty"),
        (b"hello", "is not a JPEG"),
        (b"GIF89a" + bytes(100), "cut short"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "is an SVG"),
        (b"%PDF-1.4", "is a PDF"),
        (b"\0\0\0\x1cftypavis" + bytes(20), "is an AVIF animation"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "cut short"),
        (b"\0\0\0\x1cftypheic" + bytes(20), "is a HEIC image; .* save it as JPEG or AVIF first"),
        (b"\0\0\0\x1cftypmif1" + bytes(20), "is a HEIC image"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic" + bytes(9), "is a HEIC image"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0heicavif" + bytes(9), "is a HEIC image"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1avif" + bytes(9), "is a HEIC image"),
        (b"\0\0\0\x18ftypcrx " + bytes(20), "camera's raw file"),
        (b"FUJIFILMCCD-RAW ", "camera's raw file"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "is a video file"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL image"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"P6\n9 9\n255\n", "is a portable pixel map"),
        (b"\0\0\1\0\1\0", "is a Windows icon"),
        (b"RIFF\0\0\0\0WAVEfmt ", "is not a JPEG"),
        (b"BM", "cut short"),
        (bmp_header(9, 9).replace(b"\x28", b"\x7c", 1) + bytes(16) + b"DEBM", "cut short"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (b"\xff\xd8\xff\xe0", "cut short"),
    ],
)
def test_what_is_no_picture(data: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "named.png"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(CmudrnError, match=sentence):
            read_picture(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "BMP"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(format: str, part: float) -> None:
    photo = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    data = pillow_bytes(photo, format)
    with pytest.raises(CmudrnError, match="cut short"):
        read_picture(data[: int(len(data) * part)])


@pytest.mark.parametrize(
    "format, sentence",
    [("TIFF", "2 pages or frames"), ("WEBP", "2 pages or frames"), ("PNG", "is an animation")],
)
def test_several_pages_are_refused(format: str, sentence: str) -> None:
    pages = [Pillow.fromarray(RGB), Pillow.fromarray(RGB[::-1])]
    data = pillow_bytes(pages[0], format, save_all=True, append_images=pages[1:])
    with pytest.raises(CmudrnError, match=sentence):
        read_picture(data)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 6, 3), np.float64),
        np.zeros((5, 6), np.uint32),
        np.zeros((5, 6), np.int16),
        np.zeros((5, 6), np.complex64),
    ],
)
def test_sample_types_that_cannot_be_kept(array: np.ndarray) -> None:
    with pytest.raises(CmudrnError, match="samples"):
        read_picture(tiff_bytes(array))


def test_channels_that_cannot_be_kept() -> None:
    data = tiff_bytes(
        np.zeros((5, 6, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(CmudrnError, match="7 channels"):
        read_picture(data)


def test_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match="is not a file"):
        read_picture(tmp_path)
    with pytest.raises(CmudrnError, match="No such file"):
        read_picture(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(CmudrnError, match="is not a file"):
        read_picture(tmp_path / "pipe.png")
    with pytest.raises(CmudrnError, match="is not a file name"):
        read_picture("a\0b.png")


SEEDS = {
    format: pillow_bytes(Pillow.fromarray(RGB), format)
    for format in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "BMP")
}


@pytest.mark.parametrize("format", SEEDS)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_mutated_files_end_in_a_picture_or_a_sentence(format: str, changes) -> None:
    data = bytearray(SEEDS[format])
    for position, value in changes:
        data[position % len(data)] = value
    try:
        picture = read_picture(bytes(data), max_pixels=100_000)
    except CmudrnError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    else:
        assert picture.pixels.size > 0
