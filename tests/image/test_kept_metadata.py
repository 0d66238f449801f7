"""What a file holds beside its pixels is written again, or its loss is said."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow
from PIL import PngImagePlugin
from support.photos import SRGB, make_metadata, make_photo

from cmudrn.image import (
    Picture,
    encode_picture,
    read_picture,
    unsupported_features,
)

LOSSLESS = {
    np.dtype(np.uint8): ("png", "tiff", "webp", "bmp"),
    np.dtype(np.uint16): ("png", "tiff"),
    np.dtype(np.float32): ("tiff",),
}

IPTC = b"\x1c\x02P\x00\x0bJane Author\x1c\x02t\x00\x08(c) Jane"
RESOURCE = b"8BIM\x03\xf3\x01x\0\0\0\x01r\0"  # another kind, with a name and an odd length
GAMMA = (b"gAMA", struct.pack(">I", 100_000))
PQ = (b"cICP", bytes([9, 16, 0, 1]))


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_profile_exif_and_gps_survive(source: str, format: str) -> None:
    picture = read_picture(make_photo(source))
    assert unsupported_features(picture, format) == ()
    written = Pillow.open(io.BytesIO(encode_picture(picture, format)))
    assert written.size == (40, 64)
    exif, given_ = written.getexif(), make_metadata()
    assert exif[0x010F] == "A maker"
    assert exif[0x0112] == 1
    assert exif.get_ifd(0x8769)[0x9003] == "2021:02:03 04:05:06"
    assert (exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003]) == (40, 64)
    gps = exif.get_ifd(0x8825)
    assert [float(x) for x in gps[2]] == [50, 6, 7.5]
    assert [float(x) for x in gps[4]] == [8, 9, 10.25]
    assert written.info["icc_profile"] == given_["icc_profile"]
    written.load()
    xmp = written.info["xmp"]
    assert (xmp.encode() if isinstance(xmp, str) else xmp) == given_["xmp"]


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif", "tiff"])
def test_xmp_and_profile_survive_every_change_of_format(format: str) -> None:
    picture = read_picture(make_photo("JPEG"))
    found = read_picture(encode_picture(picture, format))
    assert found.metadata["xmp-data"] == make_metadata()["xmp"]
    assert found.metadata["icc-profile-data"] == make_metadata()["icc_profile"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_stale_thumbnail_is_made_anew(order: str) -> None:
    stream = io.BytesIO()
    Pillow.new("RGB", (16, 16), "red").save(stream, "JPEG")
    thumbnail = stream.getvalue()

    def directory(entries: list[tuple[int, int, int]], following: int) -> bytes:
        body = b"".join(
            struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, 1, value)
            for tag, kind, value in entries
        )
        return struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", following)

    second = [(0x103, 3, 6), (0x201, 4, 26 + 42), (0x202, 4, len(thumbnail))]
    head = b"II*\0" if order == "<" else b"MM\0*"
    exif = b"Exif\0\0" + head + struct.pack(order + "I", 8)
    exif += directory([(0x112, 3, 6)], 26) + directory(second, 0) + thumbnail
    stream = io.BytesIO()
    Pillow.new("RGB", (32, 20)).save(stream, "JPEG", exif=exif)
    data = stream.getvalue()
    assert "jpeg-thumbnail-data" in fields_of(data)
    written = encode_picture(read_picture(data))
    assert thumbnail[-100:] in data and thumbnail[-100:] not in written
    start = written.index(b"\xff\xd8", 2)
    small = Pillow.open(io.BytesIO(written[start:])).convert("RGB")
    assert small.size == (20, 32)
    assert np.asarray(small).max() < 9  # black, as the picture is


def fields_of(jpeg: bytes) -> list[str]:
    """Return the names of what libvips finds in a JPEG file."""
    image = pyvips.Image.jpegload_source(pyvips.Source.new_from_memory(jpeg))
    return list(image.get_fields())


def iptc_in(data: bytes) -> bytes:
    """Return the IPTC of a TIFF or JPEG, read by tifffile or Pillow."""
    if data[:2] == b"II":
        value = tifffile.TiffFile(io.BytesIO(data)).pages.first.tags[33723].value
        return value if isinstance(value, bytes) else bytes(value)
    return Pillow.open(io.BytesIO(data)).info["photoshop"][0x404]


@pytest.mark.parametrize("resources", [b"", RESOURCE])
@pytest.mark.parametrize("format", ["tiff", "jpeg"])
def test_iptc_survives_between_tiff_and_jpeg(resources: bytes, format: str) -> None:
    metadata = {"iptc-data": IPTC, "photoshop-data": resources}
    picture = Picture(np.zeros((9, 8, 3), np.uint8), metadata=metadata)
    assert unsupported_features(picture, format) == ()
    data = encode_picture(picture, format)
    assert iptc_in(data) == IPTC
    other = "jpeg" if format == "tiff" else "tiff"
    again = encode_picture(read_picture(data), other)
    assert iptc_in(again) == IPTC and resources in again


@pytest.mark.parametrize("format", ["webp", "avif", "bmp"])
def test_iptc_that_a_format_lacks_is_said(format: str) -> None:
    picture = Picture(np.zeros((9, 8, 3), np.uint8), metadata={"iptc-data": IPTC})
    assert unsupported_features(picture, format) == (
        f"{format.upper()} files are written without IPTC data.",
    )


def make_profile(space: bytes) -> bytes:
    """Return a colour profile; of a grey one the least that readers take."""
    if space == b"RGB ":
        return SRGB
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63_190, 65_536, 54_061)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, 461)
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), b"kTRC", 176, len(curve))
    head = struct.pack(">I4xI4s4s4s12x4s", 192, 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + white[8:] + bytes(48) + tags + white + curve


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp", "avif"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
@pytest.mark.parametrize("space", [b"GRAY", b"RGB ", b"none"])
def test_a_profile_is_kept_or_its_loss_is_said(
    format: str, shape: tuple[int, ...], space: bytes
) -> None:
    profile = bytes(200) if space == b"none" else make_profile(space)
    picture = Picture(np.zeros(shape, np.uint8), metadata={"icc-profile-data": profile})
    found = read_picture(encode_picture(picture, format)).metadata.get("icc-profile-data")
    grey = len(shape) == 2 and format not in ("webp", "avif")
    fits = space == (b"GRAY" if grey else b"RGB ")
    assert found == (profile if fits else None)
    assert [
        ("colour profile" in sentence) for sentence in unsupported_features(picture, format)
    ] == ([] if fits else [True])


def png_with(*chunks: tuple[bytes, bytes], behind: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Return a small PNG with chunks before and behind its pixels."""
    plain = encode_picture(Picture(np.zeros((5, 4, 3), np.uint8)), "png")

    def join(chunks: tuple[tuple[bytes, bytes], ...]) -> bytes:
        return b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )

    return plain[:33] + join(chunks) + plain[33:-12] + join(behind) + plain[-12:]


def test_png_texts_survive_in_every_script() -> None:
    title = b"Title\0\0\0ja\0\0" + "雨の日".encode()
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0<x/>"
    picture = read_picture(
        png_with(
            (b"iTXt", title),
            (b"iTXt", xmp),
            (b"tEXt", b"Raw profile type exif\0\nexif\n 14\n49492a0008000000000000000000"),
            (b"zTXt", b"Copyright\0\0" + zlib.compress("© Jörg".encode("latin-1"))),
            behind=((b"tEXt", b"Comment\0" + "Grüße".encode("latin-1")),),
        )
    )
    data = encode_picture(picture)
    written = Pillow.open(io.BytesIO(data))
    written.load()
    assert isinstance(written, PngImagePlugin.PngImageFile)
    expected = {"Title": "雨の日", "Copyright": "© Jörg", "Comment": "Grüße"}
    assert {key: written.text.get(key) for key in expected} == expected
    text = written.text["Title"]
    assert isinstance(text, PngImagePlugin.iTXt) and text.lang == "ja"
    assert data.count(b"Title") == 1 and data.count(b"XML:com.adobe.xmp") == 1
    assert b"Raw profile" not in data
    assert unsupported_features(picture, "png") == ()
    assert "TIFF files are written without PNG text data." in unsupported_features(picture, "tiff")


@pytest.mark.parametrize(
    "chunks, kept",
    [
        ((GAMMA, PQ), (b"gAMA", b"cICP")),
        ((GAMMA, (b"cHRM", bytes(32))), (b"gAMA", b"cHRM")),
        ((GAMMA, (b"sRGB", b"\0")), (b"gAMA",)),
        ((PQ, (b"sRGB", b"\0")), (b"cICP",)),
    ],
)
def test_what_the_colours_of_a_png_mean_survives(chunks, kept: tuple[bytes, ...]) -> None:
    picture = read_picture(png_with(*chunks))
    data = encode_picture(picture)
    assert tuple(name for name in (b"gAMA", b"cHRM", b"cICP") if name in data) == kept
    Pillow.open(io.BytesIO(data)).load()
    assert unsupported_features(picture, "png") == ()
    assert [("gAMA" in sentence) for sentence in unsupported_features(picture, "webp")] == [
        True
    ] * (kept != (b"gAMA",))


def test_png_text_cut_off_by_the_end_of_the_file() -> None:
    data = png_with(behind=((b"tEXt", b"Comment\0" + bytes(500)),))[:-300]
    picture = read_picture(data)
    assert "png-texts" not in picture.metadata


def test_jpeg_comments_survive() -> None:
    stream = io.BytesIO()
    Pillow.new("RGB", (20, 10)).save(stream, "JPEG", comment=b"shot at dawn", exif=Pillow.Exif())
    picture = read_picture(stream.getvalue())
    data = encode_picture(picture)
    assert Pillow.open(io.BytesIO(data)).info["comment"] == b"shot at dawn"
    assert read_picture(data).metadata["jpeg-comments"] == picture.metadata["jpeg-comments"]
    assert unsupported_features(picture, "jpeg") == ()
    assert unsupported_features(picture, "png") == (
        "PNG files are written without JPEG comment data.",
    )


def test_resolution_survives_and_turns_with_the_picture() -> None:
    stream = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (20, 10)).save(stream, "TIFF", dpi=(300, 150), exif=exif)
    written = Pillow.open(io.BytesIO(encode_picture(read_picture(stream.getvalue()))))
    assert written.size == (10, 20)
    assert [round(float(x)) for x in written.info["dpi"]] == [150, 300]
