"""Writing image files: exact, with metadata, complete or not at all."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow
from PIL import JpegImagePlugin
from support.photos import make_photo

from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file
from cmudrn.image import (
    Picture,
    Pixels,
    encode_picture,
    from_batch,
    from_float,
    put_float,
    put_pixels,
    read_image,
    read_picture,
    to_batch,
    to_float,
    unsupported_features,
    write_image,
    write_picture,
)

LOSSLESS = {
    np.dtype(np.uint8): ("png", "tiff", "webp", "avif", "bmp"),
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
    grey_kept = format not in ("webp", "avif", "bmp") or (format == "bmp" and picture.alpha is None)
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
    for format in ("jpeg", "webp", "avif"):
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


@pytest.mark.parametrize("shape", [(70, 1000), (70, 1000, 3), (3, 40_000, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_are_put_where_they_belong_as_they_would_be_returned(
    dtype: type, shape: tuple[int, ...]
) -> None:
    """By channels and bands, from planes that lie behind one another as a network's answer."""
    values = np.random.default_rng(0).uniform(-0.1, 1.1, shape).astype(np.float32)
    stored: Pixels = np.zeros(shape, dtype)
    for layout in (values, np.moveaxis(np.moveaxis(values, -1, 0).copy(), 0, -1)):
        put_pixels(layout, stored)
        assert np.array_equal(stored, from_float(values, dtype))
        read = np.empty(shape, np.float32)
        put_float(stored, read)
        assert np.array_equal(read, to_float(stored))
        white = np.float32(np.iinfo(dtype).max)
        assert np.array_equal(read, stored.astype(np.float32) / white)


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
