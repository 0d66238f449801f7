"""Writing image files: exact, with metadata, complete or not at all."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from PIL import ImageCms, JpegImagePlugin, PngImagePlugin

from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file
from cmudrn.image import (
    Picture,
    encode_picture,
    from_batch,
    from_float,
    read_image,
    read_picture,
    to_batch,
    to_float,
    unsupported_features,
    write_image,
    write_picture,
)

LOSSLESS = {
    np.dtype(np.uint8): ("png", "tiff", "webp", "bmp"),
    np.dtype(np.uint16): ("png", "tiff"),
    np.dtype(np.float32): ("tiff",),
}


@st.composite
def pictures(draw) -> Picture:
    dtype: np.dtype[Any] = draw(st.sampled_from(sorted(LOSSLESS, key=str)))
    size = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
    colours = draw(st.sampled_from([(), (3,)]))
    unit: dict[str, Any] = {"elements": st.floats(0, 1, width=32)} if dtype == np.float32 else {}
    pixels = draw(hnp.arrays(dtype, (*size, *colours), **unit))
    alpha = draw(st.none() | hnp.arrays(dtype, size, **unit))
    return Picture(pixels, alpha)


@given(pictures(), st.data())
@settings(max_examples=150, deadline=None)
def test_lossless_formats_return_every_bit(picture: Picture, data) -> None:
    format = data.draw(st.sampled_from(LOSSLESS[picture.pixels.dtype]))
    found = read_picture(encode_picture(picture, format))
    assert found.format == format
    grey_kept = format not in ("webp", "bmp") or (format == "bmp" and picture.alpha is None)
    expected = picture.pixels
    if expected.ndim == 2 and not grey_kept:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert found.pixels.dtype == expected.dtype
    assert np.array_equal(found.pixels, expected)
    if format == "webp" and found.alpha is None and picture.alpha is not None:
        assert (picture.alpha == 255).all()  # WebP drops an opaque plane
    elif picture.alpha is not None:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, picture.alpha)
    else:
        assert found.alpha is None


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # holds the time


def make_metadata() -> dict:
    exif = Pillow.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2021:02:03 04:05:06", 0xA002: 64, 0xA003: 40})
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 6.0, 7.5), 3: "E", 4: (8.0, 9.0, 10.25)})
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\N{SNOWMAN} ü</a></x:xmpmeta>'.encode()
    return {"exif": exif, "icc_profile": SRGB, "xmp": xmp}


def make_photo(format: str) -> bytes:
    stream = io.BytesIO()
    photo = Pillow.linear_gradient("L").resize((64, 40)).convert("RGB")
    metadata = make_metadata()
    if format == "PNG":  # Pillow writes XMP into a PNG only as a text chunk
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata.pop("xmp").decode())
        metadata["pnginfo"] = text
    photo.save(stream, format, **metadata)
    return stream.getvalue()


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
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


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
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


IPTC = b"\x1c\x02P\x00\x0bJane Author\x1c\x02t\x00\x08(c) Jane"
RESOURCE = b"8BIM\x03\xf3\x01x\0\0\0\x01r\0"  # another kind, with a name and an odd length


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


@pytest.mark.parametrize("format", ["webp", "bmp"])
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


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
@pytest.mark.parametrize("space", [b"GRAY", b"RGB ", b"none"])
def test_a_profile_is_kept_or_its_loss_is_said(
    format: str, shape: tuple[int, ...], space: bytes
) -> None:
    profile = bytes(200) if space == b"none" else make_profile(space)
    picture = Picture(np.zeros(shape, np.uint8), metadata={"icc-profile-data": profile})
    found = read_picture(encode_picture(picture, format)).metadata.get("icc-profile-data")
    grey = len(shape) == 2 and format != "webp"
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


GAMMA = (b"gAMA", struct.pack(">I", 100_000))
PQ = (b"cICP", bytes([9, 16, 0, 1]))


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


def test_what_a_format_cannot_hold_is_said() -> None:
    photo = read_picture(make_photo("JPEG"))
    assert [sentence.split()[-2] for sentence in unsupported_features(photo, "bmp")] == [
        "EXIF",
        "ICC",
        "XMP",
    ]
    deep = Picture(np.zeros((2, 2), np.uint16))
    assert unsupported_features(deep, "png") == unsupported_features(deep, "tiff") == ()
    assert "8 bits" in unsupported_features(deep, "jpeg")[0]
    assert "16 bits" in unsupported_features(Picture(np.zeros((2, 2), np.float32)), "png")[0]


def test_jpeg_refuses_transparency() -> None:
    picture = Picture(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(CmudrnError, match="transparency"):
        encode_picture(picture, "jpeg")


@pytest.mark.parametrize(
    "format, size", [("jpeg", (1, 65_536)), ("webp", (16_384, 1)), ("webp", (1, 16_384))]
)
def test_longest_sides(format: str, size: tuple[int, int]) -> None:
    with pytest.raises(CmudrnError, match="at most"):
        encode_picture(Picture(np.zeros(size, np.uint8)), format)


def test_quality_and_subsampling() -> None:
    noise = Picture(
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), lossless=False
    )
    for format in ("jpeg", "webp"):
        small, large = (len(encode_picture(noise, format, quality=q)) for q in (30, 98))
        assert small < large
    sampling = {}
    for mode in ("444", "420", "auto"):
        written = Pillow.open(io.BytesIO(encode_picture(noise, "jpeg", subsampling=mode)))
        assert isinstance(written, JpegImagePlugin.JpegImageFile)
        sampling[mode] = written.layer[0][1]
    assert sampling == {"444": 1, "420": 2, "auto": 1}
    for wrong in ({"quality": 0}, {"quality": 101}, {"subsampling": "422"}):
        with pytest.raises(CmudrnError):
            encode_picture(noise, "jpeg", **wrong)


def test_grey_jpeg_stays_grey() -> None:
    data = encode_picture(Picture(np.zeros((8, 8), np.uint8)), "jpeg")
    assert Pillow.open(io.BytesIO(data)).mode == "L"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_the_way_through_floats(dtype: type[Any]) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    assert np.array_equal(from_float(to_float(values), dtype), values)


def test_floats_are_rounded_not_cut() -> None:
    values = np.array([[-1, 0.49 / 255, 0.51 / 255, 254.51 / 255, 2]], np.float32)
    assert from_float(values, np.uint8).tolist() == [[0, 0, 1, 255, 255]]


def test_batch_round_trip() -> None:
    image = np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)
    batch = to_batch(image)
    assert batch.shape == (1, 3, 5, 7) and batch.flags.c_contiguous
    assert np.array_equal(batch[0, 2], image[..., 2])
    assert np.array_equal(from_batch(batch), image)


def test_write_image(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((5, 7, 3), dtype=np.float32)
    write_image(image, tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png") - image).max() <= 0.5 / 255 + 1e-6
    with pytest.raises(CmudrnError, match="suffix"):
        write_image(image, tmp_path / "a.xyz")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_write_image_keeps_integers(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    white = np.iinfo(dtype).max
    array = np.random.default_rng(0).integers(0, white, shape, dtype, endpoint=True)
    write_image(array, tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png").pixels
    assert found.dtype == dtype and np.array_equal(found, array)


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.zeros((3, 20, 30), np.float32), "shape"),
        (np.zeros((20, 30, 2), np.float32), "shape"),
        (np.zeros((20, 30, 4), np.float32), "shape"),
        (np.zeros((20, 30, 5), np.uint8), "shape"),
        (np.zeros((20,), np.uint8), "shape"),
        (np.zeros((1, 3, 20, 30), np.float32), "shape"),
        (np.zeros((20, 0), np.uint8), "shape"),
        (np.zeros((20, 30), np.float64), "float64"),
        (np.zeros((20, 30), bool), "bool"),
        (np.full((20, 30), np.nan, np.float32), "no numbers"),
        (np.full((20, 30), 255, np.float32), "runs from 255"),
    ],
)
def test_write_image_refuses_what_is_no_picture(
    tmp_path: Path, array: np.ndarray, sentence: str
) -> None:
    with pytest.raises(CmudrnError, match=sentence):
        write_image(array, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x\0.png", "nosuch\0/x.png", "\ud800.png"])
def test_what_is_no_file_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(CmudrnError, match="is not a file name"):
        write_image(np.zeros((2, 2), np.uint8), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["-o.png", "a[n=-1].png", "ü \N{SNOWMAN}.tif", "a,b[Q=1].jpg"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    picture = Picture(np.full((4, 5, 3), 77, np.uint8))
    write_picture(picture, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (read_picture(tmp_path / name).pixels == 77).all()


# --------------------------------------------------------------------------- whole or not


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_atomic_write_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    for text in (b"old and longer", b"new"):
        with atomic_file(target) as file:
            file.write(text)
        assert target.read_bytes() == text
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cmudrn.files.targets as module

    monkeypatch.setattr(module, "_nameless", lambda folder: None)
    test_an_atomic_write_replaces(tmp_path)
    (tmp_path / "a.txt").unlink()
    test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path)


@pytest.mark.parametrize("target", ["nosuch/a.png", "file/a.png"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CmudrnError, match="Cannot write"):
        write_picture(Picture(np.zeros((2, 2), np.uint8)), tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are Linux's")
def test_a_killed_writer_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from cmudrn.image import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    file.write(bytes(100_000)); file.flush(); print('written', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_plain_values() -> None:
    picture = read_picture(make_photo("JPEG"))
    brighter = replace(picture, pixels=picture.pixels // 2)
    assert encode_picture(brighter) != encode_picture(picture) == encode_picture(picture)
