"""AVIF files: depths, turns, colours, what is refused, and what stands beside the pixels."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture, read_picture, unsupported_features
from cmudrn.image.avif import with_contents
from cmudrn.image.containers import CREDENTIALS, SECOND_PICTURE, Contents
from cmudrn.image.isobmff import boxes, read_items

RGB = np.random.default_rng(5).integers(0, 256, (20, 31, 3), np.uint8)
PLAIN = encode_picture(Picture(RGB), "avif")


def pillow_avif(image: Pillow.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "AVIF", **options)
    return stream.getvalue()


def nclx(primaries: int, transfer: int) -> bytes:
    return struct.pack(">I4s4s3HB", 19, b"colr", b"nclx", primaries, transfer, 6, 0x80)


def with_colours(primaries: int, transfer: int) -> bytes:
    """Return a file of Pillow's with other numbers of H.273."""
    data = pillow_avif(Pillow.fromarray(RGB))
    start = data.index(b"colrnclx") - 4
    return data[:start] + nclx(primaries, transfer) + data[start + 19 :]


@pytest.mark.parametrize("names", [b"mif1avif", b"miafmif1avif", b"MA1Bmif1miafavif"])
def test_a_file_that_is_called_avif_among_other_names_is_one(names: bytes) -> None:
    head = next(boxes(io.BytesIO(PLAIN), 0, len(PLAIN)))
    brands = names[:4] + bytes(4) + names[4:] + PLAIN[head.body + 8 : head.end]
    brands = brands[: head.end - head.body]  # places in the file stay as they are
    assert len(brands) == head.end - head.body and b"avif" in brands[8:]
    picture = read_picture(PLAIN[: head.body] + brands + PLAIN[head.end :])
    assert picture.format == "avif" and np.array_equal(picture.pixels, RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_read_upright(orientation: int) -> None:
    image = Pillow.linear_gradient("L").resize((48, 32)).convert("RGB")
    image.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = pillow_avif(image, exif=exif, quality=100, subsampling="4:4:4")
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    found = read_picture(data)
    assert found.pixels.shape == expected.shape
    assert np.abs(found.pixels.astype(int) - expected).max() <= 3
    again = read_picture(encode_picture(found, "png"))
    assert np.array_equal(again.pixels, found.pixels) and again.orientation == 1


@pytest.mark.parametrize("planes", [(), (3,)])
@pytest.mark.parametrize("alpha", [False, True])
def test_sixteen_bits_become_twelve(planes: tuple[int, ...], alpha: bool) -> None:
    samples = np.random.default_rng(1).integers(0, 4096, (12, 17, *planes, 2)).astype(np.uint32)
    samples[0, 0], samples[0, 1] = 0, 4095
    values = np.round(samples * (65535 / 4095)).astype(np.uint16)
    pixels = values[..., 0]
    picture = Picture(pixels, values.reshape(12, 17, -1)[..., -1] if alpha else None)
    assert "12 bits" in unsupported_features(picture, "avif")[0]
    found = read_picture(encode_picture(picture, "avif"))
    expected = pixels if planes else np.repeat(pixels[..., None], 3, axis=2)
    assert found.lossless and np.array_equal(found.pixels, expected)
    assert (found.alpha is None) == (picture.alpha is None)
    if found.alpha is not None and picture.alpha is not None:
        assert np.array_equal(found.alpha, picture.alpha)


def test_lossy_and_lossless_are_told_apart() -> None:
    assert read_picture(PLAIN).lossless
    lossy = read_picture(encode_picture(Picture(RGB, lossless=False), "avif"))
    assert not lossy.lossless
    assert 0 < np.abs(lossy.pixels.astype(int) - RGB).mean() < 4
    assert len(encode_picture(lossy)) < len(PLAIN)


def test_other_readers_see_the_same_pixels() -> None:
    found = np.asarray(Pillow.open(io.BytesIO(PLAIN)).convert("RGB"))
    assert np.array_equal(found, RGB)


@pytest.mark.parametrize("transfer, what", [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused(transfer: int, what: str) -> None:
    with pytest.raises(CmudrnError, match=rf"^a\.avif .* high dynamic range \({what}\)"):
        read_picture(with_colours(9, transfer), name="a.avif")


def test_other_primaries_are_said() -> None:
    assert "primaries 12" in read_picture(with_colours(12, 13)).notes[0]
    assert read_picture(with_colours(1, 13)).notes == ()


def test_animations_are_refused() -> None:
    pages = [Pillow.fromarray(RGB), Pillow.fromarray(RGB[::-1])]
    data = pillow_avif(pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(CmudrnError, match="AVIF animation"):
        read_picture(data)


@pytest.mark.parametrize("coding", [b"hvc1", b"j2k1", b"unci"])
def test_pictures_of_another_coding_are_refused(coding: bytes) -> None:
    data = PLAIN.replace(b"av01", coding)
    with pytest.raises(CmudrnError, match=r"^a\.avif is no AVIF: .* another coding\.$"):
        read_picture(data, name="a.avif")


def test_what_is_left_out_is_said() -> None:
    xmp = with_contents(PLAIN, Contents({"xmp-data": b"<x/>"}))
    other = xmp.replace(b"application/rdf+xml", b"application/another")
    signed = PLAIN + struct.pack(">I4s", 24, b"uuid") + bytes(16)
    gain = with_contents(PLAIN, Contents({"exif-data": b"II*\0\x08\0\0\0\0\0\0\0\0\0"}))
    gain = gain.replace(b"Exif", b"tmap")
    assert read_picture(xmp).notes == ()
    assert read_picture(other).notes == ("Its application?another data is left out.",)
    assert read_picture(signed).notes == (CREDENTIALS,)
    assert SECOND_PICTURE in read_picture(gain).notes


def test_items_are_where_the_file_says() -> None:
    contents = {"exif-data": b"II*\0\x08\0\0\0\0\0\0\0\0\0", "xmp-data": b"<x:xmpmeta/>"}
    alpha = encode_picture(Picture(RGB, RGB[..., 0]), "avif")
    data = with_contents(alpha, Contents(contents))
    file = io.BytesIO(data)
    items = read_items(file, len(data))
    kinds = [item.kind for item in items.items.values()]
    assert kinds == [b"av01", b"av01", b"Exif", b"mime"]
    assert items.items[3].read(file) == bytes(4) + contents["exif-data"]
    assert items.items[4].read(file) == contents["xmp-data"]
    assert sum(box.end - box.start for box in boxes(file, 0, len(data))) == len(data)
    found = read_picture(data)
    assert np.array_equal(found.pixels, RGB)
    assert found.alpha is not None and np.array_equal(found.alpha, RGB[..., 0])


@pytest.mark.parametrize("size", [0, 1, 7, 0xFFFFFFFF])
def test_boxes_of_impossible_sizes_end_the_walk(size: int) -> None:
    data = struct.pack(">I4s", 8, b"free") + struct.pack(">I4s", size, b"meta") + bytes(4)
    kinds = [box.kind for box in boxes(io.BytesIO(data), 0, len(data))]
    assert kinds == [b"free", b"meta"][: 2 if size == 0 else 1]
