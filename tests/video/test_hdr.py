"""Clips of high dynamic range: what they say of display and light is kept, or named as lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

import cmudrn  # noqa: E402
from cmudrn.restoration import RestoreSettings  # noqa: E402
from cmudrn.video import ClipSettings, VideoFormat, restore_clip  # noqa: E402
from cmudrn.video.decode import probe  # noqa: E402
from cmudrn.video.hdr import Mastering, from_pq, to_pq  # noqa: E402

DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
MASTERING = Mastering(
    (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329), (0.005, 1000.0), (1000, 400)
)


@pytest.fixture(scope="module")
def hdr10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip in PQ with ten bits and the metadata of HDR10."""
    path = tmp_path_factory.mktemp("hdr") / "hdr10.mp4"
    parameters = f"log-level=none:master-display={DISPLAY}:max-cll=1000,400"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": parameters})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9
        for number in range(3):
            pixels = np.full((48, 64, 3), 12_000 + 3000 * number, np.uint16)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb48le").reformat(format="yuv420p10le")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_metadata_is_read(hdr10: Path) -> None:
    assert probe(hdr10).mastering == MASTERING


@pytest.mark.parametrize(
    ("codec", "name"), [(None, "a.mp4"), (None, "a.mkv"), ("h264", "a.mkv"), ("av1", "a.mkv")]
)
def test_metadata_is_kept(
    codec: str | None, name: str, hdr10: Path, tmp_path: Path, darkening_model: Path
) -> None:
    restorer = cmudrn.load(darkening_model, threads=1)
    settings = ClipSettings(format=VideoFormat(codec))
    result = restore_clip(restorer, hdr10, tmp_path / name, settings)
    done = probe(tmp_path / name)
    assert result.notes == ()
    assert done.pixel_format == "yuv420p10le"
    assert (done.colours.primaries, done.colours.transfer, done.colours.matrix) == (9, 16, 9)
    np.testing.assert_allclose(done.mastering.primaries, MASTERING.primaries, atol=2e-5)
    np.testing.assert_allclose(done.mastering.luminance, MASTERING.luminance, atol=1e-4)
    assert done.mastering.light == MASTERING.light


def test_a_codec_that_does_not_store_it_says_so(
    hdr10: Path, tmp_path: Path, darkening_model: Path
) -> None:
    settings = ClipSettings(RestoreSettings(strength=0), format=VideoFormat("vp9"))
    restorer = cmudrn.load(darkening_model, threads=1)
    bits, note = restore_clip(restorer, hdr10, tmp_path / "a.mkv", settings).notes
    assert bits == "yuv420p10le became yuv420p: 8 of 10 bits."
    assert "mastering display" in note
    assert "content light level" in note


def test_the_space_of_pq_is_left_as_it_was_entered() -> None:
    codes = np.arange(65536, dtype=np.uint16)
    values = from_pq(codes)
    assert (np.diff(values) >= 0).all()
    assert np.abs(to_pq(values).astype(int) - codes).max() <= 8  # an eighth of a step of 10 bits
    # ITU-R BT.2408: the white of HLG is 1,000 cd/m^2, which PQ holds at 0.7518.
    assert values[round(0.7518 * 65535)] == pytest.approx(1, abs=1e-3)


def test_light_above_the_peak_goes_around_the_network(darkening_model: Path) -> None:
    restorer = cmudrn.load(darkening_model, threads=1)
    codes = np.full((8, 8, 3), round(0.9 * 65535), np.uint16)
    bright = from_pq(codes)
    change = restorer(np.ones_like(bright)) - 1
    np.testing.assert_allclose(restorer(bright), bright + change, atol=1e-5)
