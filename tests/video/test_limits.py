"""What a hostile or huge clip may use, and what it may open."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.errors import LimitExceededError  # noqa: E402
from cmudrn.video import (  # noqa: E402
    ClipLimits,
    ClipSettings,
    VideoFileError,
    is_video,
    restore_clip,
)
from cmudrn.video.access import AddressRefusedError, hide_password, stream_options  # noqa: E402
from cmudrn.video.carry import Carried  # noqa: E402
from cmudrn.video.decode import open_clip, probe  # noqa: E402
from cmudrn.video.disk import CopiedBytes, disk_note, measure_copied, needed_bytes  # noqa: E402
from cmudrn.video.segments import SegmentStore  # noqa: E402


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limits") / "a.mkv"
    return clips.make_clip(path, [512 * n for n in range(30)], extras=False)


@pytest.mark.parametrize(
    ("limits", "name", "sentence"),
    [
        (ClipLimits(max_pixels=64 * 48 - 1), "max_pixels", "3,072 pixels, more than the limit"),
        (ClipLimits(max_seconds=1), "max_seconds", r"is 1 s long, more than the limit of 1\."),
        (ClipLimits(max_memory=1000), "max_memory", r"need about 0 MiB, more than the limit of 0"),
    ],
)
def test_each_limit_is_one_sentence_before_the_work(
    limits: ClipLimits, name: str, sentence: str, clip: Path, identity_model: Path, tmp_path: Path
) -> None:
    restorer = cmudrn.load(identity_model, threads=1)
    with pytest.raises(LimitExceededError, match=sentence) as caught:
        restore_clip(restorer, clip, tmp_path / "b.mkv", ClipSettings(limits=limits))
    assert caught.value.limit_name == name
    assert str(clip) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_a_clip_hides_of_its_length_is_bounded_too(
    identity_model: Path, tmp_path: Path
) -> None:
    # A pipe's Matroska knows no duration beforehand.
    source = clips.make_clip(tmp_path / "a.ts", [512 * n for n in range(60)], extras=False)
    bare = tmp_path / "a.h264"
    with av.open(str(source)) as before, av.open(str(bare), "w") as after:
        copy = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(before.streams.video[0]):
            if packet.size:
                packet.stream = copy
                after.mux_one(packet)
    restorer = cmudrn.load(identity_model, threads=1)
    with pytest.raises(LimitExceededError, match="more than the limit of 1"):
        restore_clip(
            restorer, bare, tmp_path / "b.mkv", ClipSettings(limits=ClipLimits(max_seconds=1))
        )
    assert not (tmp_path / "b.mkv").exists()


def test_a_small_file_of_huge_frames_is_refused_without_decoding_them(tmp_path: Path) -> None:
    source = tmp_path / "big.mov"
    with av.open(str(source), "w") as output:
        video = output.add_stream("png", rate=1)
        video.width, video.height, video.pix_fmt = 4000, 4000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((4000, 4000), np.uint8), format="gray")
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    with pytest.raises(LimitExceededError, match="more than the limit of 1,000,000 pixels"):
        probe(source, ClipLimits(max_pixels=1_000_000))


def test_few_large_frames_wait(clip: Path) -> None:
    usual = ClipLimits()
    assert usual.prefetched(1920, 1080) == 4
    assert usual.prefetched(8192, 4320) == 3
    assert ClipLimits(max_memory=5 << 30).prefetched(8192, 4320) == 1
    # Smaller ones, of which fusion over time holds some more: these count.
    assert usual.prefetched(4300, 4300) == 1 and usual.holds_window(4300, 4300)


SCRIPTS = {
    "concat.mp4": "ffconcat version 1.0\nfile 'private.mkv'\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate.mkv\n#EXT-X-ENDLIST\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate.mkv\n#EXT-X-ENDLIST\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'type="static" mediaPresentationDuration="PT1S" minBufferTime="PT1S" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>private.mkv</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "text.txt": "private.mkv\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_no_other_file(name: str, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "private.mkv").write_bytes(clip.read_bytes())
    (tmp_path / name).write_text(SCRIPTS[name])
    with pytest.raises(VideoFileError, match=name):
        probe(tmp_path / name)
    assert not is_video(tmp_path / name)


def test_only_listed_demuxers_open_a_file(clip: Path, tmp_path: Path) -> None:
    from cmudrn.video.access import FILE_DEMUXERS

    with open_clip(clip) as container:
        assert not set(FILE_DEMUXERS).isdisjoint(container.format.name.split(","))
    # A name that FFmpeg takes for a pattern of numbered files, or for an address, is a name.
    for name in ("%d.png", "http:x.mkv", "concat:a|b.mkv", "pipe:0"):
        path = tmp_path / name
        if name.endswith(".mkv"):
            path.write_bytes(clip.read_bytes())
            assert probe(path).width == clips.WIDTH
        else:
            with pytest.raises(VideoFileError):
                probe(path)


@pytest.mark.parametrize(
    "address",
    ["concat://a|b", "subfile://x", "data://text", "ftp://camera/1", "gopher://x", "async://x"],
)
def test_addresses_of_other_schemes_are_refused(address: str) -> None:
    with pytest.raises(AddressRefusedError, match="its scheme is none of http"):
        stream_options(address)


def test_no_stream_reads_files() -> None:
    for scheme in ("http", "https", "rtsp", "rtmp", "udp", "tcp", "srt"):
        for follow_links in (False, True):
            options = stream_options(f"{scheme}://camera/1", follow_links)
            assert "file" not in options["protocol_whitelist"].split(",")


def test_a_name_and_password_are_hidden() -> None:
    assert hide_password("rtsp://me:secret@camera:554/1") == "rtsp://camera:554/1"
    assert hide_password("file:clip.mp4") == "clip.mp4"


def test_the_content_says_what_is_video(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.dat").write_bytes(clip.read_bytes())
    (tmp_path / "text.mp4").write_text("no video")
    assert is_video(tmp_path / "clip.dat")
    assert not is_video(tmp_path / "text.mp4")
    assert not is_video(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    "container", ["mxf", "vob", "y4m", "h264", "hevc", "gif", "dat", "ivf", "nut"]
)
def test_clips_of_other_suffixes_are_known_by_their_content(
    container: str, clip: Path, identity_model: Path, tmp_path: Path
) -> None:
    from cmudrn.photos.planning import plan_jobs

    source = tmp_path / f"a.{container}"
    codecs = {
        "mxf": "mpeg2video",
        "vob": "mpeg2video",
        "y4m": "wrapped_avframe",
        "h264": "libx264",
        "hevc": "libx265",
        "gif": "gif",
        "dat": "libx264",
        "ivf": "libvpx-vp9",
        "nut": "ffv1",
    }
    form = {"dat": "mpegts", "y4m": "yuv4mpegpipe"}.get(container, container)
    with av.open(str(source), "w", format=form) as output:
        video = output.add_stream(codecs[container], rate=25)
        video.width, video.height = clips.WIDTH, clips.HEIGHT
        video.pix_fmt = "bgr8" if container == "gif" else "yuv420p"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(clips.picture(number, False), format="rgb24")
            output.mux(video.encode(frame.reformat(format=video.pix_fmt)))
        output.mux(video.encode(None))
    (job,) = plan_jobs([str(source)]).jobs
    assert job.is_clip and is_video(source)
    assert job.target == tmp_path / "a.restored.mkv"
    assert restore_clip(cmudrn.load(identity_model, threads=1), job.source, job.target).frames == 5


@pytest.mark.parametrize(
    ("used", "frames", "free", "words"),
    [
        (1 << 20, 4800, 1 << 40, None),
        (1 << 24, 4800, 1 << 40, "3.4 GB of disk"),
        (1 << 20, 4800, 300 << 20, "are free"),
        (1 << 20, 4800, 100 << 20, "only 0.1 GB are free"),
        (1 << 20, 0, 1 << 40, None),
    ],
)
def test_the_disk_that_a_clip_takes_is_told(
    used: int, frames: int, free: int, words: str | None,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    needed = needed_bytes(used, 48, frames, CopiedBytes())
    sentence = disk_note(tmp_path, used, needed)
    assert sentence is None if words is None else words in str(sentence)


def test_a_long_clip_tells_after_its_first_segment(
    darkening_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmudrn.video.disk.WORTH_TELLING", 1)
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(60)], extras=False)
    told: list[str] = []
    restorer = cmudrn.load(darkening_model, threads=1)
    restore_clip(restorer, source, tmp_path / "b.mkv", on_note=told.append)
    assert len(told) == 1


def test_a_clip_that_grows_tells_again(
    darkening_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmudrn.video.disk.WORTH_TELLING", 1)
    module = importlib.import_module("cmudrn.video.restore_clip")
    monkeypatch.setattr(module, "SEGMENT_FRAMES", 5)
    sizes = iter([1000, 1000, 9000, *[9000] * 20])
    known: dict[int, int] = {}
    monkeypatch.setattr(
        SegmentStore, "size", lambda _, number: known.setdefault(number, next(sizes))
    )
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(40)], extras=False)
    told: list[str] = []
    restorer = cmudrn.load(darkening_model, threads=1)
    restore_clip(restorer, source, tmp_path / "b.mkv", on_note=told.append)
    assert len(told) == 3  # after segments 1, 4 and 8, not after 2


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_what_is_copied_counts_for_the_disk(suffix: str, tmp_path: Path) -> None:
    path = clips.make_clip(tmp_path / f"a{suffix}", [512 * n for n in range(100)])
    clip = probe(path)
    with av.open(str(path)) as source:
        sound = [s.index for s in source.streams if s.type == "audio"]
        whole = sum(packet.size for packet in source.demux(*(source.streams[n] for n in sound)))
    cover = ("cover.png", "image/png", bytes(1000))
    carried = Carried(tuple(sound), (cover,))
    with open_clip(path) as source:
        copied = measure_copied(source, clip.stream, carried, 50 / 25)
    assert copied.once == 1000
    needed = needed_bytes(0, 50, 100, copied)
    assert abs(needed - 1000 - whole) < 0.2 * whole
