"""Whatever a file holds beside its pixels is kept, made true again, or named."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cmudrn.image import Picture, encode_picture, read_picture, unsupported_features

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
CAMERA = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
XMP = 'xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
SPACES = {
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
}


def packet(attributes: str = "", inner: str = "") -> bytes:
    declared = " ".join(f'xmlns:{name}="{space}"' for name, space in SPACES.items())
    body = f'<rdf:Description rdf:about="" {XMP} {CAMERA} {declared} {attributes}>{inner}'
    return f"<rdf:RDF {RDF}>{body}</rdf:Description></rdf:RDF>".encode()


def jpeg(*segments: tuple[int, bytes], behind: bytes = b"", **options: Any) -> bytes:
    stream = io.BytesIO()
    Pillow.linear_gradient("L").resize((64, 40)).convert("RGB").save(stream, "JPEG", **options)
    data = stream.getvalue()
    own = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return data[:20] + own + data[20:] + behind


def png(*chunks: tuple[bytes, bytes], behind: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    def joined(chunks: tuple[tuple[bytes, bytes], ...]) -> bytes:
        return b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )

    stream = io.BytesIO()
    Pillow.linear_gradient("L").resize((64, 40)).convert("RGB").save(stream, "PNG")
    data = stream.getvalue()
    return data[:33] + joined(chunks) + data[33:-12] + joined(behind) + data[-12:]


def written(data: bytes, format: str | None = None) -> tuple[bytes, tuple[str, ...]]:
    """Return a file read and written again, and all that is said of it."""
    picture = read_picture(data)
    format = format or picture.format
    return encode_picture(picture, format), picture.notes + unsupported_features(picture, format)


@pytest.mark.parametrize("marker", [0xE1, 0xE2, *range(0xE3, 0xEB), 0xEC, 0xEF, 0xFE])
def test_every_kind_of_segment_is_kept(marker: int) -> None:
    segment = bytes([0xFF, marker]) + struct.pack(">H", 14) + b"unheard-of\0\1"
    found, notes = written(jpeg((marker, segment[4:])))
    assert segment in found and notes == ()
    assert "JPEG" in written(jpeg((marker, segment[4:])), "png")[1][0]


@pytest.mark.parametrize(
    "data, words",
    [
        (jpeg((0xEB, b"JP\0\1jumbc2pa")), "content credentials"),
        (jpeg((0xEB, b"HDR_RI")), "APP11"),
        (jpeg((0xE0, b"JFXX\0\x13" + bytes(20))), "thumbnail"),
        (jpeg((0xE2, b"MPF\0" + bytes(20))), "second picture"),
        (jpeg(behind=b"\xff\xd8\xff\xe0" + bytes(30)), "second picture"),
        (jpeg(behind=b"\0\0\0\x18ftypmp42" + bytes(30)), "film"),
        (jpeg(behind=b"\0\0SEFH" + bytes(40) + b"MotionPhoto_Data"), "film"),
        (jpeg(behind=b"something else"), "14 bytes behind"),
        (jpeg((0xED, b"Photoshop 3.0\x008BIM\4\x0c\0\0\0\0\0\2ab")), "thumbnail"),
        (png((b"sBIT", b"\5\6\5")), "sBIT"),
        (png((b"hIST", bytes(8))), "hIST"),
        (png((b"prIV", b"unsafe to copy")), "prIV"),
        (png((b"caBX", b"jumb")), "content credentials"),
        (
            png((b"tEXt", b"Raw profile type iptc\0\niptc\n  2\nxy\n")),
            "raw profile of the type iptc",
        ),
        (
            png((b"tEXt", b"Raw profile type what\0\nwhat\n  1\nff\n")),
            "raw profile of the type what",
        ),
        (png((b"iCCP", b"a\0\0damaged")), "profile is damaged"),
        (png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0damaged")), "XMP data is damaged"),
        (png() + b"behind", "6 bytes behind"),
    ],
)
def test_what_is_left_out_is_named(data: bytes, words: str) -> None:
    _, notes = written(data)
    assert len(notes) == 1 and words in notes[0]


def test_zeros_behind_a_picture_are_nothing() -> None:
    assert written(jpeg(behind=bytes(900)))[1] == written(png() + bytes(9))[1] == ()


@pytest.mark.parametrize(
    "name", ["bKGD", "tIME", "oFFs", "vpAg", "pCAL", "sCAL", "sTER", "prIv", "mDCV", "cLLI", "sRGB"]
)
def test_chunks_that_hold_for_the_result_are_kept(name: str) -> None:
    chunk = (name.encode(), b"\0\1\0\2\0\3")
    for data in (png(chunk), png(behind=(chunk,))):
        found, notes = written(data)
        assert found.count(b"\0\0\0\6" + chunk[0] + chunk[1]) == 1 and notes == ()


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("raw", ["exif", "APP1", None])
def test_exif_of_every_guise_in_a_png(raw: str | None, behind: bool) -> None:
    exif = Pillow.Exif()
    exif.update({0x0112: 6, 0x013B: "Jane"})
    block = exif.tobytes()
    digits = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    text = b"Raw profile type %s\0\0" % (raw or "").encode() + zlib.compress(digits)
    chunk = (b"zTXt", text) if raw else (b"eXIf", block[6:])
    data = png(behind=(chunk,)) if behind else png(chunk)
    found, notes = written(data)
    image = Pillow.open(io.BytesIO(found))
    assert image.size == (40, 64) and notes == ()
    assert image.getexif()[0x013B] == "Jane" and image.getexif()[0x0112] == 1


@pytest.mark.parametrize("title", [b"%s", b"%s profile"])  # ImageMagick's, and exiftool's
@pytest.mark.parametrize("head", [b"", b"Photoshop 3.0\0"])
def test_iptc_and_xmp_in_raw_profiles(head: bytes, title: bytes) -> None:
    iptc = b"\x1c\x02P\0\4Jane"
    resource = head + b"8BIM\4\4\0\0" + struct.pack(">I", len(iptc)) + iptc + b"\0"
    raw = [(b"iptc", resource), (b"xmp", packet('xmp:Label="a"'))]
    chunks = [
        (
            b"tEXt",
            b"Raw profile type %s\0\n" % k
            + title % k
            + b"\n%8d\n%s\n" % (len(v), v.hex().encode()),
        )
        for k, v in raw
    ]
    picture = read_picture(png(*chunks))
    for format in ("png", "jpeg", "tiff"):
        again = read_picture(encode_picture(picture, format)).metadata
        assert again["iptc-data"] == iptc and again["xmp-data"] == raw[1][1]


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp", "avif", "bmp"])
def test_nothing_is_made_up(format: str) -> None:
    picture = read_picture(encode_picture(Picture(np.zeros((9, 8, 3), np.uint8)), format))
    assert picture.metadata == {} and picture.density is None and picture.notes == ()
    again = Pillow.open(io.BytesIO(encode_picture(picture, format)))
    assert 0x011A not in again.getexif() and not dict(again.getexif().get_ifd(0x8769))
    assert format == "tiff" or "dpi" not in again.info  # Pillow makes one up of a TIFF


@pytest.mark.parametrize(
    "source, format",
    [
        (png((b"pHYs", struct.pack(">IIB", 3780, 7560, 1))), "png"),
        (png((b"pHYs", struct.pack(">IIB", 2, 1, 0))), "png"),
        (jpeg(dpi=(300, 150)), "jpeg"),
        (jpeg(dpi=(300, 150)), "tiff"),
        (png((b"pHYs", struct.pack(">IIB", 2, 1, 0))), "tiff"),
    ],
)
def test_density_keeps_its_numbers_and_unit(source: bytes, format: str) -> None:
    picture = read_picture(source)
    assert picture.density is not None
    assert read_picture(encode_picture(picture, format)).density == picture.density


def test_xmp_of_what_is_gone_is_removed_and_the_rest_kept() -> None:
    pointers = (
        'GCamera:MotionPhoto="1" hdrgm:Version="1.0" GCamera:SpecialTypeID="x" xmp:Rating="4"'
    )
    inner = "<xmp:Thumbnails><rdf:Alt/></xmp:Thumbnails><xmp:Label>red</xmp:Label>"
    head = b"http://ns.adobe.com/xap/1.0/\0"
    found, notes = written(jpeg((0xE1, head + packet(pointers, inner))))
    for gone in (b"MotionPhoto", b"hdrgm:Version", b"Thumbnails"):
        assert gone not in found
    for kept in (b'xmp:Rating="4"', b"<xmp:Label>red</xmp:Label>", b"SpecialTypeID"):
        assert kept in found
    assert notes == ("A thumbnail in its XMP data is left out.",)


def test_xmp_that_nothing_makes_stale_keeps_its_bytes() -> None:
    odd = packet('xmp:Label="&#10;  x"', "<!-- a remark -->") + b"\n" * 40
    found, notes = written(jpeg(xmp=odd))
    assert odd in found and notes == ()


def test_dimensions_in_xmp_and_exif_follow_the_picture() -> None:
    exif = Pillow.Exif()
    exif.update({0x0112: 6, 0x0100: 64, 0x0101: 40})
    told = 'tiff:ImageWidth="64" exif:PixelYDimension="40" tiff:Orientation="6"'
    area = "<exif:SubjectArea><rdf:Seq><rdf:li>10</rdf:li><rdf:li>20</rdf:li></rdf:Seq>"
    found, _ = written(jpeg(xmp=packet(told, area + "</exif:SubjectArea>"), exif=exif))
    image = Pillow.open(io.BytesIO(found))
    assert image.size == (40, 64)
    assert (image.getexif()[0x0100], image.getexif()[0x0101]) == (40, 64)
    for now in (b'ImageWidth="40"', b'PixelYDimension="64"', b'Orientation="1"', b"<rdf:li>19<"):
        assert now in found


@pytest.mark.parametrize("form", ["attribute", "element"])
def test_large_xmp_goes_into_extended_packets_and_comes_back(form: str) -> None:
    text = "x" * 150_000
    large = packet(f'xmp:Rating="4" xmp:Label="{text}"')
    if form == "element":
        large = packet('xmp:Rating="4"', f"<xmp:Label>{text}</xmp:Label>")
    picture = Picture(np.zeros((9, 8, 3), np.uint8), metadata={"xmp-data": large})
    assert unsupported_features(picture, "jpeg") == ()
    data = encode_picture(picture, "jpeg")
    assert data.count(b"http://ns.adobe.com/xmp/extension/\0") == 3
    again = read_picture(data)
    assert again.notes == () and text.encode() in again.metadata["xmp-data"]
    assert b'xmp:Rating="4"' in again.metadata["xmp-data"]
    assert b"HasExtendedXMP" not in encode_picture(again, "png")


def test_xmp_that_cannot_be_split_is_named() -> None:
    picture = Picture(np.zeros((9, 8, 3), np.uint8), metadata={"xmp-data": b"<a>" + b"x" * 70_000})
    assert "such XMP data" in unsupported_features(picture, "jpeg")[0]
    assert read_picture(encode_picture(picture, "jpeg")).metadata == {}


@pytest.mark.parametrize("text", [b"<x", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>Orientation</a>"])
def test_xmp_that_is_damaged_stays_and_is_named(text: bytes) -> None:
    found, notes = written(jpeg(xmp=text + b" Orientation"))
    assert text in found and "well-formed" in notes[0]


def test_a_missing_end_marker_is_named_and_missing_pixels_are_refused() -> None:
    data = jpeg()
    _, notes = written(data[:-2])
    assert notes == ("Its end marker is missing; its pixels are whole.",)
    with pytest.raises(Exception, match="cut short"):
        read_picture(data[:-12])


@pytest.mark.parametrize(
    "frame, words",
    [
        (b"\xff\xc3\0\x11\x08", "lossless JPEG"),
        (b"\xff\xc5\0\x11\x08", "hierarchical"),
        (b"\xff\xf7\0\x11\x08", "JPEG-LS"),
        (b"\xff\xc1\0\x11\x0c", "12 bits"),
    ],
)
def test_kinds_of_jpeg_that_are_not_read_are_named(frame: bytes, words: str) -> None:
    data = jpeg().replace(b"\xff\xc0\0\x11\x08", frame)
    with pytest.raises(Exception, match=words) as caught:
        read_picture(data, name="a.jpg")
    assert "damaged" not in str(caught.value)
