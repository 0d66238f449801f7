"""A matrix of containers and codecs: a result is complete with its times, or refused first."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.errors import TargetError  # noqa: E402
from cmudrn.restoration import RestoreSettings  # noqa: E402
from cmudrn.video import CODECS, ClipResult, ClipSettings, VideoFormat, restore_clip  # noqa: E402

CONTAINERS = [
    "mp4", "mov", "m4v", "mkv", "webm", "avi", "ts", "m2ts", "mpg", "vob", "wmv", "flv", "3gp",
]  # fmt: skip
FRAMES = 30
UNTOUCHED = RestoreSettings(strength=0)

needs_ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe here")


def untouched(model: Path, source: Path, target: Path, codec: str | None = None) -> ClipResult:
    """Return the result of a run at strength 0."""
    settings = ClipSettings(UNTOUCHED, format=VideoFormat(codec))
    return restore_clip(cmudrn.load(model, threads=1), source, target, settings)


def ffprobe(path: Path) -> dict[str, Any]:
    """Return what ffprobe says of the first video stream."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-count_frames"]
    done = subprocess.run(
        [*command, "-select_streams", "v:0", str(path)], capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)["streams"][0]
    return found


def shown(path: Path) -> np.ndarray:
    """Return the times of a clip's frames after the first, seconds."""
    times = np.array([float(time) for time in clips.frame_times(path)])
    return np.asarray(times - times[0])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with sound, at 25 frames a second, with reordered frames."""
    path = tmp_path_factory.mktemp("matrix") / "a.mp4"
    return clips.make_clip(path, [512 * n for n in range(FRAMES)])


@needs_ffprobe
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_with_every_codec(
    container: str, codec: str, source: Path, identity_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / f"b.{container}"
    try:
        result = untouched(identity_model, source, target, codec)
    except TargetError as error:
        assert str(target) in str(error)
        assert list(tmp_path.iterdir()) == []
        return
    np.testing.assert_allclose(shown(target), shown(source), atol=0.0011)
    found = ffprobe(target)
    assert int(found["nb_read_frames"]) == result.frames == FRAMES
    assert Fraction(found["avg_frame_rate"]) == pytest.approx(25, abs=0.15)
    if "duration" in found and container not in ("mpg", "vob"):  # there ffprobe estimates
        assert float(found["duration"]) == pytest.approx(FRAMES / 25, abs=0.05)
    if codec == "hevc" and container in ("mp4", "mov", "m4v"):
        assert found["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_by_itself(
    container: str, source: Path, identity_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / f"b.{container}"
    result = untouched(identity_model, source, target)
    assert result.frames == FRAMES
    with av.open(str(source)) as before, av.open(str(target)) as after:
        kept = [stream.type for stream in after.streams]
        for stream in before.streams:
            if stream.type in kept:
                kept.remove(stream.type)
            elif stream.type != "data":  # a time code or chapters, written anew
                assert any(f"Stream {stream.index} " in note for note in result.notes)


def stream_tags(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as clip:
        return [(stream.type, stream.metadata.get("timecode", "")) for stream in clip.streams]


@pytest.mark.parametrize(("before", "after"), [("mov", "mov"), ("mp4", "mov"), ("mov", "mp4")])
def test_a_time_code_is_kept(before: str, after: str, identity_model: Path, tmp_path: Path) -> None:
    source, target = tmp_path / f"a.{before}", tmp_path / f"b.{after}"
    with av.open(str(source), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.metadata["timecode"] = "01:00:00:00"
        write_frames(output, video, 5)
    assert stream_tags(source) == [("video", "01:00:00:00"), ("data", "01:00:00:00")]
    assert untouched(identity_model, source, target).notes == ()
    assert stream_tags(target) == stream_tags(source)


def write_frames(output: Any, video: Any, count: int) -> None:
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(clips.picture(number, False), format="rgb24")
        output.mux(video.encode(frame))
    output.mux(video.encode(None))


def test_times_of_two_recordings_in_a_row_go_on(
    source: Path, identity_model: Path, tmp_path: Path
) -> None:
    single, double = tmp_path / "single.ts", tmp_path / "double.ts"
    untouched(identity_model, source, single)
    double.write_bytes(single.read_bytes() * 2)
    target = tmp_path / "b.ts"
    result = untouched(identity_model, double, target)
    assert "The times jump in 1 place; they go on without a gap." in result.notes
    times = shown(target)
    assert len(times) == result.frames == 2 * FRAMES
    np.testing.assert_allclose(np.diff(times), 0.04, atol=0.0011)
    with av.open(str(target)) as clip:
        heard = [float(frame.time) for frame in clip.decode(audio=0)]
        start = clip.start_time / av.time_base
    assert heard[0] - start < 0.1 and np.diff(heard).min() > 0
    # Sound of the second recording stays with its pictures.
    assert heard[-1] - start == pytest.approx(times[-1], abs=0.1)


def add_cover(path: Path, cover: bytes) -> Path:
    """Return a copy of a clip with a cover picture."""
    target = path.with_name(f"covered{path.suffix}")
    with av.open(str(path)) as before, av.open(str(target), "w") as after:
        streams = [before.streams[0], before.streams[1]]
        copies = [after.add_stream_from_template(stream) for stream in streams]
        if path.suffix == ".mkv":
            after.add_attachment("cover.png", "image/png", cover)
        else:
            still = after.add_stream("png")
            still.width, still.height, still.pix_fmt = 16, 16, "rgb24"
            still.disposition = av.stream.Disposition.attached_pic
            after.start_encoding()
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = still, 0, 0
            packet.time_base, packet.is_keyframe = Fraction(1, 25), True
            after.mux_one(packet)
        for packet in before.demux(*streams):
            if packet.size:
                packet.stream = copies[packet.stream.index]
                after.mux_one(packet)
    return target


@pytest.mark.parametrize("after", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("before", ["mp4", "mkv"])
def test_a_cover_is_kept_or_told(
    before: str, after: str, source: Path, identity_model: Path, tmp_path: Path
) -> None:
    from cmudrn.image import Picture, encode_picture

    cover = encode_picture(Picture(np.full((16, 16, 3), 99, np.uint8)), "png")
    plain = tmp_path / f"a.{before}"
    untouched(identity_model, source, plain)
    covered = add_cover(plain, cover)
    target = tmp_path / f"b.{after}"
    result = untouched(identity_model, covered, target)
    with av.open(str(target)) as clip:
        covers = [
            bytes(next(clip.demux(stream)))
            for stream in clip.streams.video
            if stream.disposition & av.stream.Disposition.attached_pic
        ]
    lost = after in ("webm", "mov")
    assert covers == ([] if lost else [cover])
    assert any("(cover) was left out" in note for note in result.notes) == lost


def test_whiter_than_white_and_blacker_than_black_are_kept(
    darkening_model: Path, identity_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "a.mkv"
    luma = np.tile(np.arange(1, 255, 2, dtype=np.uint8)[None, :124], (48, 1))
    with av.open(str(source), "w") as output:
        video = output.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 124, 48, "yuv420p"
        planes = np.concatenate([luma, np.full((24, 124), 128, np.uint8)])
        output.mux(video.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        output.mux(video.encode(None))

    def restored(model: Path, name: str, strength: float) -> np.ndarray:
        target = tmp_path / name
        settings = ClipSettings(RestoreSettings(strength=strength))
        # Change gating would hold even white areas at what they were.
        restorer = cmudrn.load(model, threads=1, change_gating=False)
        restore_clip(restorer, source, target, settings)
        with av.open(str(target)) as clip:
            return np.asarray(next(clip.decode(video=0)).to_ndarray()[:48].astype(int))

    np.testing.assert_array_equal(restored(identity_model, "same.mkv", 0), luma)
    assert np.abs(restored(identity_model, "near.mkv", 1) - luma).max() <= 1
    # Where the network darkens white, the part above white does not stay as a ghost.
    dark = restored(darkening_model, "dark.mkv", 1)
    assert np.diff(dark[0][luma[0] > 200]).max() <= 3
    assert dark.max() <= 235


def test_a_second_picture_track_is_copied_and_named(identity_model: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    with av.open(str(source), "w") as output:
        tracks = [output.add_stream("ffv1", rate=25) for _ in range(2)]
        for track in tracks:
            track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            for track, grey in zip(tracks, (90, 160), strict=True):
                pixels = np.full((48, 64, 3), grey + number, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts = number
                output.mux(track.encode(frame))
        for track in tracks:
            output.mux(track.encode(None))
    result = untouched(identity_model, source, target)
    assert "Stream 1 (video) was copied as it is." in result.notes
    with av.open(str(target)) as clip:
        assert [stream.type for stream in clip.streams] == ["video", "video"]


@pytest.mark.parametrize("flags", ["+ilme+ildct", ""])
def test_interlaced_frames_are_named(flags: str, identity_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"flags": flags} if flags else {})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            pixels = np.full((48, 64, 3), 90 + number, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode(None))
    notes = untouched(identity_model, source, tmp_path / "b.mp4").notes
    assert ("Interlaced frames are marked as progressive." in notes) == bool(flags)


def test_two_runs_of_one_result_do_not_meet(
    source: Path, identity_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.mp4"
    clash: set[str] = set()

    def start_another(done: int, total: int) -> None:
        with pytest.raises(TargetError) as caught:
            untouched(identity_model, source, target)
        clash.add(str(caught.value))

    settings = ClipSettings(UNTOUCHED)
    restorer = cmudrn.load(identity_model, threads=1)
    assert restore_clip(restorer, source, target, settings, start_another).frames == FRAMES
    assert clash == {f"Another run is making {target} already."}
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]
