"""EXIF blocks and TIFF tags, with Pillow and tifffile as independent readers and writers."""

from __future__ import annotations

import io
import struct
from typing import Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture, read_picture, unsupported_features
from cmudrn.image.directories import make_block, with_tags
from cmudrn.image.exif import bare, fit, read_tags, turn_upright

TEXTS = {
    0x010E: "rain on a road",
    0x010F: "A maker",
    0x0110: "A model",
    0x0131: "A program",
    0x0132: "2021:02:03 04:05:06",
    0x013B: "Jane",
    0x8298: "(c) Jane",
}
NOTE = b"maker\0\xff\x01 note"


def make_exif(orientation: int = 1) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif.update(TEXTS)
    exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({0x9003: "2021:02:03 04:05:06", 0x829A: 0.25, 0x927C: NOTE})
    exif.get_ifd(0x8769).update({0xA002: 64, 0xA003: 40})
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 6.0, 7.5), 3: "E", 4: (8.0, 9.0, 10.25)})
    return exif


def make_file(format: str, orientation: int = 1) -> bytes:
    stream = io.BytesIO()
    photo = Pillow.linear_gradient("L").resize((64, 40)).convert("RGB")
    exif = make_exif(orientation)
    if format == "TIFF":  # Pillow writes into a TIFF only the directories that it is shown
        exif.update({tag: dict(exif.get_ifd(tag)) for tag in (0x8769, 0x8825)})
    photo.save(stream, format, exif=exif)
    return stream.getvalue()


def check_exif(data: bytes) -> None:
    exif = Pillow.open(io.BytesIO(data)).getexif()
    assert {tag: exif.get(tag) for tag in TEXTS} == TEXTS
    assert exif.get(0x0112, 1) == 1
    inner, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert (inner[0x9003], inner[0x829A], inner[0x927C]) == ("2021:02:03 04:05:06", 0.25, NOTE)
    assert (gps[1], [float(x) for x in gps[2]]) == ("N", [50, 6, 7.5])
    assert (gps[3], [float(x) for x in gps[4]]) == ("E", [8, 9, 10.25])


@pytest.mark.parametrize("source", ["TIFF", "JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("format", ["tiff", "jpeg", "png", "webp", "avif"])
def test_tags_exif_and_gps_survive_every_change_of_format(source: str, format: str) -> None:
    picture = read_picture(make_file(source, orientation=6))
    assert picture.notes == unsupported_features(picture, format) == ()
    data = encode_picture(picture, format)
    check_exif(data)
    inner = Pillow.open(io.BytesIO(data)).getexif().get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == (40, 64)
    again = read_picture(data)
    assert again.pixels.shape == (64, 40, 3) and again.orientation == 1
    check_exif(encode_picture(again, "tiff" if format == "jpeg" else "jpeg"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tags_of_every_kind_of_tiff(order: Literal["<", ">"], big: bool) -> None:
    array = np.random.default_rng(0).integers(0, 999, (9, 7), np.uint16)
    stream = io.BytesIO()
    extra = [(315, 2, 5, "Jane", True), (18246, 3, 1, 4, True)]
    tifffile.imwrite(stream, array, byteorder=order, bigtiff=big, software="sw", extratags=extra)
    picture = read_picture(stream.getvalue())
    assert picture.notes == ()
    with tifffile.TiffFile(io.BytesIO(encode_picture(picture))) as written:
        tags = written.pages.first.tags
        assert (tags[315].value, tags[305].value, tags[18246].value) == ("Jane", "sw", 4)
        assert np.array_equal(written.asarray(), array)


def test_tags_can_be_added_to_a_bigtiff() -> None:
    stream = io.BytesIO()
    array = np.arange(63, dtype=np.uint8).reshape(9, 7)
    tifffile.imwrite(stream, array, bigtiff=True)
    tags, _ = read_tags(io.BytesIO(bare(make_exif().tobytes())))
    data = with_tags(stream.getvalue(), tags)
    assert read_tags(io.BytesIO(data))[0].items() >= tags.items()
    with tifffile.TiffFile(io.BytesIO(data)) as written:
        assert written.pages.first.tags[315].value == "Jane"
        assert written.pages.first.tags[34665].value["ExposureTime"] == 0.25
        assert np.array_equal(written.asarray(), array)


def test_tiff_tags_that_are_left_out_are_named() -> None:
    stream = io.BytesIO()
    extra = [(33550, 12, 3, (1.0, 1.0, 0.0), True), (50341, 7, 4, b"PrIM", True)]
    tifffile.imwrite(stream, np.zeros((9, 7), np.uint8), extratags=extra)
    assert read_picture(stream.getvalue()).notes == ("Its TIFF tags 33550, 50341 are left out.",)


def test_exif_tags_that_tiff_is_not_given_are_named() -> None:
    exif = make_exif()
    exif[50341] = b"PrIM"
    picture = Picture(
        np.zeros((4, 4), np.uint8), format="jpeg", metadata={"exif-data": exif.tobytes()}
    )
    assert unsupported_features(picture, "jpeg") == ()
    assert unsupported_features(picture, "tiff") == (
        "TIFF files are written without the EXIF tags 50341.",
    )


def maker_note_block(order: str) -> bytes:
    """Return a bare EXIF block whose maker note holds an address, as many cameras write it."""

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, count, value)

    def directory(*entries: bytes) -> bytes:
        return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)

    inner = 8 + 2 + 2 * 12 + 4
    note = inner + 2 + 3 * 12 + 4
    maker = directory(entry(6, 2, 12, note + 18)) + b"CanonCanon!\0"
    sides = entry(0xA002, 4, 1, 64), entry(0xA003, 3, 1, 40)
    return b"".join(
        (
            {"<": b"II*\0", ">": b"MM\0*"}[order],
            struct.pack(order + "I", 8),
            directory(entry(0x112, 3, 1, 6), entry(0x8769, 4, 1, inner)),
            directory(entry(0x927C, 7, len(maker), note), *sides),
            maker,
        )
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
def test_maker_notes_keep_their_bytes_and_their_place(order: str, format: str) -> None:
    block = maker_note_block(order)
    stream = io.BytesIO()
    Pillow.new("RGB", (64, 40)).save(stream, "JPEG", exif=b"Exif\0\0" + block)
    data = encode_picture(read_picture(stream.getvalue()), format)
    written = Pillow.open(io.BytesIO(data))
    exif = written.getexif()
    inner = exif.get_ifd(0x8769)
    assert written.size == (inner[0xA002], inner[0xA003]) == (40, 64)
    assert exif[0x0112] == 1
    start = data.index(block[:4])
    place = block.index(b"CanonCanon!")
    assert data[start + place - 18 : start + place + 12] == block[place - 18 : place + 12]


def test_resolution_turns_with_the_picture() -> None:
    exif = make_exif(orientation=6)
    exif.update({0x011A: 300.0, 0x011B: 150.0, 0x0128: 2})
    stream = io.BytesIO()
    Pillow.new("RGB", (64, 40)).save(stream, "JPEG", dpi=(200, 100), exif=exif)
    written = Pillow.open(io.BytesIO(encode_picture(read_picture(stream.getvalue()))))
    found = written.getexif()
    assert (found[0x011A], found[0x011B], found[0x0128]) == (150, 300, 2)
    assert written.info["jfif_density"] == (100, 200) and written.info["jfif_unit"] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_subject_stays_where_it_is(format: str, orientation: int) -> None:
    exif = make_exif(orientation)
    exif.get_ifd(0x8769)[0x9214] = (10, 20, 7, 5)
    photo = Pillow.new("L", (64, 40))
    photo.putpixel((10, 20), 255)
    stream = io.BytesIO()
    options = {"lossless": True} if format == "WEBP" else {}
    photo.save(stream, format, exif=exif, **options)
    written = Pillow.open(io.BytesIO(encode_picture(read_picture(stream.getvalue()), "png")))
    x, y, width, height = written.getexif().get_ifd(0x8769)[0x9214]
    assert (width, height) == ((5, 7) if orientation >= 5 else (7, 5))
    pixels = np.asarray(written.convert("L"))
    assert np.unravel_index(pixels.argmax(), pixels.shape) == (y, x)


def test_a_directory_that_points_to_the_same_bytes_again_and_again() -> None:
    inner = b"".join(struct.pack("<HHII", tag, 7, 1 << 20, 0) for tag in range(500))
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 34665, 4, 1, 26, 0)
    block += struct.pack("<H", 500) + inner + bytes(1 << 20)
    assert len(make_block(read_tags(io.BytesIO(block))[0])) < 5 << 20


def test_an_empty_exif_block_is_no_loss() -> None:
    stream = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(stream, "JPEG", exif=b"Exif\0\0")
    picture = read_picture(stream.getvalue())
    assert unsupported_features(picture, "jpeg") == ()
    assert read_picture(encode_picture(picture)).pixels.shape == (8, 8, 3)


def test_of_a_tag_that_is_there_twice_the_first_counts() -> None:
    stream = io.BytesIO()
    extra = [(315, 2, 6, "first", True), (315, 2, 7, "second", True)]
    tifffile.imwrite(stream, np.zeros((9, 7), np.uint8), extratags=extra)
    assert b"second" in stream.getvalue()
    written = Pillow.open(io.BytesIO(encode_picture(read_picture(stream.getvalue()))))
    assert written.getexif()[315] == Pillow.open(stream).getexif()[315]


@pytest.mark.parametrize(
    "options", [{"tile": (16, 16)}, {"compression": "zlib", "predictor": True}]
)
def test_how_pixels_are_stored_is_no_loss(options: dict) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((40, 50, 3), np.uint8), photometric="rgb", **options)
    assert read_picture(stream.getvalue()).notes == ()


def test_more_exif_than_jpeg_holds_is_said() -> None:
    exif = make_exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(70_000)
    picture = Picture(np.zeros((8, 8, 3), np.uint8), metadata={"exif-data": exif.tobytes()})
    assert "65,527 bytes" in unsupported_features(picture, "jpeg")[0]
    assert Pillow.open(io.BytesIO(encode_picture(picture, "jpeg"))).size == (8, 8)
    assert unsupported_features(picture, "png") == unsupported_features(picture, "tiff") == ()
    for format in ("png", "tiff"):
        inner = Pillow.open(io.BytesIO(encode_picture(picture, format))).getexif().get_ifd(0x8769)
        assert inner[0x927C] == bytes(70_000)


@pytest.mark.parametrize(
    "exif", [b"!", b"garbage", b"II*\0\x08\0\0\0\xff\xff\x0f\1", b"II*\0" + b"\xff" * 4]
)
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif", "tiff"])
def test_damaged_exif_is_said(exif: bytes, format: str) -> None:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), metadata={"exif-data": exif})
    assert "is damaged" in unsupported_features(picture, format)[0]
    assert read_picture(encode_picture(picture, format)).orientation == 1


@pytest.mark.parametrize("kind", range(1, 13))
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
def test_an_orientation_of_any_kind_and_count_is_upright_afterwards(kind: int, count: int) -> None:
    block = bytearray(make_file("TIFF", orientation=8))
    at = block.index(struct.pack("<HHI", 0x0112, 3, 1))
    block[at : at + 12] = struct.pack("<HHII", 0x0112, kind, count, 8)
    picture = Picture(np.zeros((4, 5), np.uint8), metadata={"exif-data": bytes(block)})
    assert read_picture(encode_picture(picture, "jpeg")).orientation == 1


BLOCKS = [maker_note_block(">"), bare(make_exif().tobytes()), make_file("TIFF")]


@given(
    st.sampled_from(BLOCKS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
)
@settings(max_examples=300, deadline=None)
def test_no_damage_ends_in_a_traceback(block: bytes, changes, cut: int) -> None:
    data = bytearray(block)
    for position, value in changes:
        data[position % len(data)] = value
    damaged = bytes(data[: len(data) - cut])
    tags, _ = read_tags(io.BytesIO(damaged))
    assert read_tags(io.BytesIO(make_block(tags)))[0] == tags
    turned = turn_upright(damaged, 4, 5, 6)
    fit(turned, 5, 4, b"thumbnail" * 9)
    try:
        picture = Picture(np.zeros((4, 5), np.uint8), metadata={"exif-data": damaged})
        assert read_picture(encode_picture(picture, "jpeg")).orientation == 1
    except CmudrnError as error:
        assert str(error).endswith(".")
