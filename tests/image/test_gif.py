"""GIF stills are read as they are shown, and animations refused; nothing is lost without a note."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import cmudrn
from cmudrn.errors import CmudrnError, UnsupportedImageError
from cmudrn.image import encode_picture, read_picture, unsupported_features
from cmudrn.photos import PhotoSettings, restore_bytes
from cmudrn.photos.planning import plan_jobs
from cmudrn.restoration import RestoreSettings

COLOURS = Pillow.fromarray(np.random.default_rng(3).integers(0, 256, (21, 34, 3), np.uint8))
PROFILE = bytes(range(200)) * 2
PACKET = b"<x:xmpmeta>" + b"n" * 300 + b"</x:xmpmeta>"


def gif(image: Pillow.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "GIF", **options)
    return stream.getvalue()


STILL = gif(COLOURS.convert("P"))


def parts(data: bytes) -> bytes:
    """Return data in parts, each behind its length, and the end of the last."""
    cut = [data[start : start + 255] for start in range(0, len(data), 255)]
    return b"".join(bytes([len(part)]) + part for part in cut) + b"\0"


def with_blocks(data: bytes, *blocks: bytes) -> bytes:
    """Return a file with blocks behind its table of colours."""
    start = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:start] + b"".join(blocks) + data[start:]


@pytest.mark.parametrize("mode", ["P", "L", "1"])
@pytest.mark.parametrize("interlace", [0, 1])
def test_a_still_is_read_as_it_is_shown(mode: str, interlace: int) -> None:
    data = gif(COLOURS.convert(mode), interlace=interlace)
    picture = read_picture(data)
    shown = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))
    pixels = picture.pixels if picture.pixels.ndim == 3 else np.dstack([picture.pixels] * 3)
    assert np.array_equal(pixels, shown) and picture.alpha is None
    assert (picture.format, picture.lossless, picture.notes) == ("png", True, ())
    assert np.array_equal(read_picture(encode_picture(picture)).pixels, picture.pixels)


def test_what_is_transparent_stays_so() -> None:
    data = gif(COLOURS.quantize(16), transparency=3)
    opacity = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGBA"))[..., 3]
    alpha = read_picture(data).alpha
    assert alpha is not None and np.array_equal(alpha, opacity) and 0 < opacity.mean() < 255


def test_what_stands_beside_the_pixels_is_kept_or_named() -> None:
    xmp = b"!\xff\x0bXMP DataXMP" + PACKET + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    profile = b"!\xff\x0bICCRGBG1012" + parts(PROFILE)
    other = b"!\xff\x0bSOMEBODY1.0" + parts(b"x" * 600)
    drawn = b"!\x01\x0c" + bytes(12) + parts(b"a text")
    picture = read_picture(with_blocks(STILL, xmp, profile, other, drawn, b"!\xfe\x02hi\0"))
    assert picture.metadata["xmp-data"] == PACKET
    assert picture.metadata["icc-profile-data"] == PROFILE
    (note,) = picture.notes
    assert "SOMEBODY1?0 data, text that is drawn over the picture, comments" in note
    assert not [note for note in unsupported_features(picture, "png") if "XMP" in note]


def test_animations_are_refused() -> None:
    pages = [COLOURS.rotate(angle).convert("P") for angle in (0, 90, 180)]
    data = gif(pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(UnsupportedImageError, match=r"^a.gif holds 3 pages or frames"):
        read_picture(data, name="a.gif")


@pytest.mark.parametrize("length", [14, 400, len(STILL) // 2, len(STILL) - 9])
def test_a_file_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(CmudrnError, match="cut short"):
        read_picture(STILL[:length])


def test_more_blocks_than_any_program_writes_are_refused() -> None:
    with pytest.raises(CmudrnError, match="parts"):
        read_picture(with_blocks(STILL, *[b"!\xfe\x01x\0"] * 5000))
    with pytest.raises(CmudrnError, match="metadata"):
        read_picture(with_blocks(STILL, b"!\xfe" + parts(bytes(33 << 20))))


def test_a_picture_that_is_too_large_is_refused() -> None:
    with pytest.raises(CmudrnError, match="34 x 21 = 714 pixels, more than the limit"):
        read_picture(STILL, max_pixels=713)


def test_results_are_png_files(tmp_path: Path) -> None:
    for name in ("a.gif", "b.GIF", "c.png"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(STILL)
    moving = [COLOURS.convert("P"), COLOURS.rotate(90).convert("P")]
    (tmp_path / "in" / "d.gif").write_bytes(
        gif(moving[0], save_all=True, append_images=moving[1:], loop=0)
    )
    plan = plan_jobs([str(tmp_path / "in")])
    assert [job.target.name for job in plan.jobs] == ["a.png", "b.png", "c.png"]
    assert [Path(str(error.path)).name for error in plan.passed_over] == ["d.gif"]
    targets = {
        name: plan_jobs([str(tmp_path / "in" / name)]).jobs[0].target.name
        for name in ("a.gif", "b.GIF", "d.gif")
    }
    assert targets == {"a.gif": "a.restored.png", "b.GIF": "b.restored.png",
                       "d.gif": "d.restored.mkv"}  # fmt: skip


def test_its_own_bytes_are_never_a_result() -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    still = gif(Pillow.new("L", (64, 64), 90))
    for format in (None, "png"):
        settings = PhotoSettings(RestoreSettings(gate=True), format=format)
        done = restore_bytes(restorer, still, settings)
        assert done.passed and done.data.startswith(b"\x89PNG")
