"""What a clip asks for that cannot be done is refused, and what is lost is told."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402
from support.clip_settings import restore  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.restoration import RestoreSettings  # noqa: E402
from cmudrn.video import VideoFormat  # noqa: E402
from cmudrn.video.encode import Encoding  # noqa: E402

FRAME_S = 0.04
RESTORE = {field.name for field in fields(RestoreSettings)}


def test_what_the_container_refuses_is_told(identity_model: Path, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(40)])
    record = restore(identity_model, source, tmp_path / "b.mp4")
    assert any("subtitle" in note and ".mp4" in note for note in record.notes)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [(".mkv", "ffv1", "bgra"), (".mov", "prores_ks", "yuva444p10le"),
     (".webm", "libvpx-vp9", "yuva420p")],
)  # fmt: skip
def test_transparency_that_is_left_out_is_told(
    suffix: str, codec: str, pixels: str, identity_model: Path, tmp_path: Path
) -> None:
    times = [512 * n for n in range(3)]
    source = clips.make_clip(
        tmp_path / f"a{suffix}", times, extras=False, codec=codec, pixel_format=pixels
    )
    target = tmp_path / f"b{suffix}"
    record = restore(identity_model, source, target)
    # FFmpeg reads ProRes 4444 as 12 bits and writes 10.
    bits = ("yuva444p12le became yuv444p10le: 10 of 12 bits.",) if codec == "prores_ks" else ()
    assert record.notes == ("Transparency was left out: the result is opaque.", *bits)
    with av.open(str(target)) as clip:
        assert "alpha_mode" not in map(str.lower, clip.streams.video[0].metadata)


def test_frames_that_pass_the_gate_are_opaque_too(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    with av.open(str(source), "w") as output:
        video = output.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgra"
        pixels = np.full((48, 64, 4), 100, np.uint8)
        output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="bgra")))
        output.mux(video.encode(None))
    record = restore(
        cmudrn.load("cmudrn-25k", threads=1), source, target, gate=True, stages=1, recursions=1
    )
    assert record.passed == 1
    with av.open(str(target)) as clip:
        frame = next(clip.decode(video=0))
    assert frame.format.name == "bgra"
    assert frame.to_ndarray().reshape(-1, 4).min(0).tolist() == [100, 100, 100, 255]


def test_subtitles_that_a_transport_stream_would_garble_are_left_out(
    identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(40)])
    record = restore(identity_model, source, tmp_path / "b.m2ts")
    assert record.notes == (
        "Stream 3 (subtitle) was left out: .m2ts does not take it.",
        "The container does not keep the tags ARTIST, title.",
        "The container does not keep 2 chapters.",
    )
    assert len(clips.packets_of(tmp_path / "b.m2ts")) == 2


@pytest.mark.parametrize(
    ("suffix", "codec", "sentence"),
    [(".ogv", None, "takes none"), (".ts", "vp9", "not take vp9"), (".x", None, "no suffix of")],
)
def test_what_a_container_cannot_hold_is_refused(
    suffix: str, codec: str | None, sentence: str, identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [0, 512], extras=False)
    with pytest.raises(CmudrnError, match=sentence):
        restore(identity_model, source, tmp_path / f"b{suffix}", format=VideoFormat(codec))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (VideoFormat(codec="h265"), "There is no codec"),
        (VideoFormat(codec="ffv1", quality=3), "has no quality"),
        (VideoFormat(pixel_format="rgb1"), "does not store"),
        (VideoFormat(codec="prores"), "does not take"),
    ],
)
def test_bad_wishes_are_refused(
    form: VideoFormat, sentence: str, identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mp4", [0, 512], extras=False)
    suffix = ".webm" if form.codec == "prores" else ".mkv"
    with pytest.raises(CmudrnError, match=sentence):
        restore(identity_model, source, tmp_path / f"b{suffix}", format=form)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4"]


@pytest.mark.parametrize(
    ("form", "shape", "sentence"),
    [
        (
            VideoFormat(codec="hevc", quality=63),
            (48, 64),
            "codec hevc does not take the quality 63.$",
        ),
        (VideoFormat(codec="hevc"), (2, 2), "codec hevc does not take 2x2 frames"),
        (VideoFormat(codec="av1"), (2, 2), "codec av1 does not take 2x2 frames"),
    ],
)
def test_what_an_encoder_refuses_is_told_before_anything_is_made(
    form: VideoFormat, shape: tuple[int, int], sentence: str, identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [0, 512], extras=False, codec="ffv1", shape=shape)
    with pytest.raises(CmudrnError, match=sentence):
        restore(identity_model, source, tmp_path / "new" / "b.mkv", format=form)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_what_fails_before_the_first_part_leaves_no_folder(
    identity_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def encode(self, frame: object) -> list[object]:
            raise av.error.ExternalError(542398533, "Generic error in an external library")

    source = clips.make_clip(tmp_path / "a.mkv", [0, 512], extras=False)
    monkeypatch.setattr(Encoding, "check", lambda encoding: None)
    module = sys.modules["cmudrn.video.restore_clip"]
    monkeypatch.setattr(module, "check_muxable", lambda *_: None)
    monkeypatch.setattr(Encoding, "open_encoder", lambda encoding: Refusing())
    with pytest.raises(CmudrnError, match=r"cannot be encoded as h264: Generic error"):
        restore(identity_model, source, tmp_path / "b.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_no_video_and_cut_off_video(identity_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(CmudrnError, match="not a video that can be read"):
        restore(identity_model, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("suffix", "sentence"),
    [
        (".mp4", r"^The file is cut off, .*: \d\d of 100 frames could be decoded.$"),
        (".mkv", r"^The file is cut off, .*: \d\d frames could be decoded, [12]\.\d\d of 4.00 s.$"),
        (".ts", r"^The video is damaged in \d of \d\d packets.$"),
    ],
)
def test_what_a_cut_or_damaged_clip_lacks_is_told(
    suffix: str, sentence: str, identity_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / f"a{suffix}"
    with av.open(str(source), "w", options={"movflags": "faststart"}) as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        for number in range(100):
            pixels = clips.picture(number, False, (120, 160))
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode(None))
    whole_target = tmp_path / f"whole{suffix}"
    assert restore(identity_model, source, whole_target, strength=0.0).notes == ()
    whole = source.read_bytes()
    half = len(whole) // 2
    start = half - half % 188 + 188  # of a packet of a transport stream
    hole = whole[:start] + bytes(1880) + whole[start + 1880 :]
    source.write_bytes(hole if suffix == ".ts" else whole[:half])
    record = restore(identity_model, source, tmp_path / f"b{suffix}", strength=0.0)
    assert record.frames == len(clips.frame_times(tmp_path / f"b{suffix}")) < 100
    (note,) = record.notes
    assert re.search(sentence, note)


def test_what_an_edit_list_hides_is_not_missed(identity_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    whole = clips.make_clip(tmp_path / "whole.mp4", [512 * n for n in range(50)])
    with av.open(str(whole)) as a, av.open(str(source), "w") as output:
        copy = output.add_stream_from_template(a.streams.video[0])
        for packet in a.demux(a.streams.video[0]):
            if packet.size:
                packet.pts, packet.dts = packet.pts - 5120, packet.dts - 5120
                packet.stream = copy
                output.mux_one(packet)
    record = restore(identity_model, source, tmp_path / "b.mp4")
    assert (record.frames, record.notes) == (40, ())
