"""Raw frames on a pipe."""

from __future__ import annotations

import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="the extra video is not installed")

import cmudrn
from cmudrn.errors import CmudrnError
from cmudrn.image import Pixels
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.video.raw_frames import RawFormat, restore_raw


@pytest.mark.parametrize("layout", ["rgb24", "bgr24", "gray", "rgb48le", "gray16le"])
def test_frames_come_out_as_they_went_in(layout: str, darkening_model: Path) -> None:
    form = RawFormat.parse(layout, "7x5")
    deep = "16" in layout or "48" in layout
    rng = np.random.default_rng(0)
    channels = 1 if layout.startswith("gray") else 3
    top = 65_535 if deep else 255
    frames = rng.integers(top // 3, top, (3, 5, 7, channels))
    data = frames.astype("<u2" if deep else "u1").tobytes()
    out = BytesIO()
    assert restore_raw(BytesIO(data), out, form, cmudrn.load(darkening_model, threads=1)) == 3
    found = np.frombuffer(out.getvalue(), "<u2" if deep else "u1").reshape(frames.shape)
    # Every channel is darkened alike, so only the order of bytes and frames matters.
    assert np.abs(found - (frames - 0.2 * top)).max() <= top / 255 * 1.01


def test_an_input_that_ends_inside_a_frame_is_told(identity_model: Path) -> None:
    form = RawFormat.parse("rgb24", "4x4")
    with pytest.raises(CmudrnError, match="10 of 48 bytes"):
        restore_raw(BytesIO(bytes(58)), BytesIO(), form, cmudrn.load(identity_model, threads=1))


class Meagre(BytesIO):
    """Has no memory for more than a megabyte at once, and a little of that at a time."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 1 << 20:
            raise MemoryError
        return super().read(min(size, 1000))


def test_a_large_frame_is_read_little_by_little(identity_model: Path) -> None:
    form = RawFormat.parse("gray", "2000x1000")
    with pytest.raises(CmudrnError, match="5000 of 2000000 bytes"):
        restore_raw(Meagre(bytes(5000)), BytesIO(), form, cmudrn.load(identity_model, threads=1))


def test_frames_too_large_for_the_memory_are_refused(identity_model: Path) -> None:
    class Full(Restorer):
        def make_change_gate(self, image: Pixels) -> None:
            raise MemoryError

    with pytest.raises(CmudrnError, match="9,999,800,001 pixels, more than the limit"):
        RawFormat.parse("rgb24", "99999x99999")
    engine = cmudrn.load(identity_model, threads=1).engine
    with pytest.raises(CmudrnError, match="not enough memory for frames of 4x4"):
        restore_raw(BytesIO(bytes(48)), BytesIO(), RawFormat.parse("rgb24", "4x4"), Full(engine))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "Cannot write the frames: No space left on dev"),
        (BrokenPipeError(32, "Broken pipe"), "Nobody reads the frames any more"),
    ],
)
def test_frames_that_cannot_be_written_are_told(
    error: OSError, sentence: str, identity_model: Path
) -> None:
    class Full(BytesIO):
        def write(self, data: object) -> int:
            raise error

    form, restorer = RawFormat.parse("rgb24", "4x4"), cmudrn.load(identity_model, threads=1)
    with pytest.raises(CmudrnError, match=sentence):
        restore_raw(BytesIO(bytes(48)), Full(), form, restorer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence(identity_model: Path) -> None:
    command = [sys.executable, "-m", "cmudrn", "restore", "--frames", "rgb24", "4x4", "-"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*command, "--model", str(identity_model), "--threads", "1"],
            input=bytes(48), stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    said = b"cmudrn: Cannot write the frames: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("words", [("yuv", "4x4"), ("rgb24", "4"), ("rgb24", "0x4")])
def test_words_that_are_no_format_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(CmudrnError):
        RawFormat.parse(*words)


def sample(layout: str, size: str) -> bytes:
    """Return a colourful frame in a layout."""
    form = RawFormat.parse(layout, size)
    y, x = np.mgrid[: form.height, : form.width]
    waves = [np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)]
    pixels = np.rint(120 + 60 * np.stack(waves, -1))
    deep = layout == "rgb48le"
    array = (pixels * 257).astype(np.uint16) if deep else pixels.astype(np.uint8)
    return form.encode(array, (bytes(range(256)) * (form.size // 256 + 1))[: form.size])


@pytest.mark.parametrize("size", ["64x48", "63x47", "1x1", "40x720"])
@pytest.mark.parametrize("layout", ["rgba", "yuv420p", "nv12"])
def test_frames_with_alpha_or_yuv_keep_their_size_and_colours(
    layout: str, size: str, identity_model: Path
) -> None:
    form, frame = RawFormat.parse(layout, size), sample(layout, size)
    restorer = cmudrn.load(identity_model, threads=1, precision="fp32")
    for strength, tolerance in ((0.0, 0), (1.0, 0 if layout == "rgba" else 2)):
        out = BytesIO()
        settings = RestoreSettings(strength=strength)
        assert restore_raw(BytesIO(frame * 2), out, form, restorer, settings) == 2
        before, after = (
            np.frombuffer(d, np.uint8).astype(int) for d in (frame * 2, out.getvalue())
        )
        assert np.abs(before - after).max() <= tolerance


def test_alpha_goes_around_the_network(darkening_model: Path) -> None:
    form = RawFormat.parse("rgba", "4x2")
    pixels = np.full((2, 4, 4), 200, np.uint8)
    pixels[..., 3] = np.arange(8).reshape(2, 4)
    out = BytesIO()
    restore_raw(BytesIO(pixels.tobytes()), out, form, cmudrn.load(darkening_model, threads=1))
    found = np.frombuffer(out.getvalue(), np.uint8).reshape(2, 4, 4)
    np.testing.assert_array_equal(found[..., 3], pixels[..., 3])
    assert (found[..., :3] < 160).all()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
@pytest.mark.parametrize("layout", ["rgba", "yuv420p", "nv12", "bgr24", "rgb48le"])
def test_colours_are_those_of_ffmpeg(layout: str) -> None:
    form, frame = RawFormat.parse(layout, "64x48"), sample(layout, "64x48")
    into = "rgb48le" if layout == "rgb48le" else "rgb24"
    command = [
        "ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", layout, "-s", "64x48", "-i", "-",
        "-vf", f"scale=flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,format={into}",
        "-f", "rawvideo", "-",
    ]  # fmt: skip
    done = subprocess.run(command, input=frame, capture_output=True, check=True)
    theirs = np.frombuffer(done.stdout, "<u2" if into == "rgb48le" else "u1").reshape(48, 64, 3)
    assert np.abs(theirs.astype(int) - form.decode(frame)).max() <= 1
