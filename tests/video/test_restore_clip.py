"""Streams and metadata of a clip are kept, and a killed run resumes with the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402
from support.clip_settings import restore  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.engines.native import instruction_sets  # noqa: E402
from cmudrn.image import Pixels  # noqa: E402
from cmudrn.restoration import Restorer  # noqa: E402
from cmudrn.restoration.dehazing import VeilCorrection  # noqa: E402
from cmudrn.video import ClipSettings, VideoFormat  # noqa: E402
from cmudrn.video.decode import probe  # noqa: E402
from cmudrn.video.encode import SEGMENT_FRAMES  # noqa: E402
from cmudrn.video.restore_clip import make_plan  # noqa: E402
from cmudrn.video.timeline import make_schedule  # noqa: E402

FRAME_S = 0.04


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A minute of uneven frames with a flash and a beep now and then."""
    times = clips.uneven_times(62, fps=9)
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    flashes = {1, len(times) // 2, len(times) - 3}
    clips.make_clip(path, times, flashes=flashes, rotation=90)
    return path, times


@pytest.fixture(scope="module")
def restored(
    uneven: tuple[Path, list[int]], darkening_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("restored") / "b.mp4"
    record = restore(darkening_model, uneven[0], target)
    assert record.notes == ()
    return target


def test_frame_times_are_kept(uneven: tuple[Path, list[int]], restored: Path) -> None:
    assert clips.frame_times(restored) == [Fraction(t, 12_800) for t in uneven[1]]


def test_sound_and_subtitles_are_copied_byte_for_byte(
    uneven: tuple[Path, list[int]], restored: Path
) -> None:
    before, after = clips.packets_of(uneven[0]), clips.packets_of(restored)
    assert [len(packets) > 20 for packets in before.values()][:3] == [True] * 3
    for index in (1, 2, 3):
        assert after[index] == before[index]


def test_languages_chapters_metadata_rotation_and_colours_are_kept(
    uneven: tuple[Path, list[int]], restored: Path
) -> None:
    seen = []
    for path in (uneven[0], restored):
        with av.open(str(path)) as clip:
            frame = next(clip.decode(video=0))
            titles = [chapter["metadata"]["title"] for chapter in clip.chapters()]
            languages = [stream.metadata.get("language") for stream in clip.streams]
            kept = (clip.metadata["title"], clip.metadata["artist"], titles, languages)
            tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
            seen.append((kept, tags, frame.rotation))
    assert seen[0] == seen[1]
    assert seen[0] == (
        ("Größe", "someone", ["One", "Two"], ["und", "eng", "deu", "eng", "eng"]), (1, 1, 1, 1), 90
    )  # fmt: skip


def test_flash_and_beep_stay_together_for_a_minute(restored: Path) -> None:
    with av.open(str(restored)) as clip:
        bright = [
            float(f.time) for f in clip.decode(video=0) if f.to_ndarray(format="gray").mean() > 150
        ]
    with av.open(str(restored)) as clip:
        loud = [float(f.time) for f in clip.decode(audio=1) if np.abs(f.to_ndarray()).mean() > 0.05]
    beeps = [t for n, t in enumerate(loud) if n == 0 or t - loud[n - 1] > 0.5]
    assert len(bright) == len(beeps) == 3
    assert bright[-1] > 60
    assert max(abs(b - f) for b, f in zip(beeps, bright, strict=True)) <= FRAME_S


def test_pictures_are_restored_without_a_colour_shift(
    uneven: tuple[Path, list[int]], restored: Path
) -> None:
    with av.open(str(uneven[0])) as before, av.open(str(restored)) as after:
        for _, a, b in zip(range(5), before.decode(video=0), after.decode(video=0), strict=False):
            old, new = (f.to_ndarray(format="rgb24").astype(float) for f in (a, b))
            expected = np.clip(old - 51, 0, 255)  # the model darkens by 0.2
            assert abs(np.median(new - expected)) < 2.5
            assert np.abs(new.mean((0, 1)) - expected.mean((0, 1))).max() < 3


def test_a_killed_run_resumes_without_a_seam(
    uneven: tuple[Path, list[int]], restored: Path, darkening_model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b.mp4"
    command = ["restore", str(uneven[0]), "-o", str(target), "--model", str(darkening_model)]
    command += ["--threads", "1", "--precision", "fp32"]  # as this process does
    process = subprocess.Popen([sys.executable, "-m", "cmudrn", *command])
    segments = tmp_path / ".b.mp4.segments"
    end = time.monotonic() + 100
    while len(list(segments.glob("*.npz"))) < 2 and time.monotonic() < end:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    record = restore(darkening_model, uneven[0], target)
    assert 96 <= record.resumed_at < record.frames == len(uneven[1])
    assert target.read_bytes() == restored.read_bytes()
    assert not segments.exists()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mkv", "h264"), (".mkv", "hevc"), (".mkv", "av1"), (".mkv", "ffv1"), (".webm", "vp9"),
     (".mov", "prores"), (".ts", "h264"), (".avi", "h264")],
)  # fmt: skip
def test_a_stopped_clip_ends_with_the_same_bytes(
    suffix: str, codec: str, darkening_model: Path, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= SEGMENT_FRAMES:
            raise StopError

    source = clips.make_clip(tmp_path / "a.mkv", clips.uneven_times(4))
    form = VideoFormat(codec)
    restore(darkening_model, source, tmp_path / f"whole{suffix}", format=form)
    with pytest.raises(StopError):
        restore(darkening_model, source, tmp_path / f"parts{suffix}", stop, format=form)
    record = restore(darkening_model, source, tmp_path / f"parts{suffix}", format=form)
    assert record.resumed_at == SEGMENT_FRAMES
    whole, joined = (tmp_path / f"{name}{suffix}" for name in ("whole", "parts"))
    assert whole.read_bytes() == joined.read_bytes()


class Veiled(Restorer):
    """Finds a veil in each frame, thicker in brighter ones."""

    def estimate_veil(self, image: Pixels) -> VeilCorrection:
        return VeilCorrection(
            np.full((8, 8), 1.1 + image.mean() / 1000, np.float32), np.ones(3, np.float32)
        )


def test_the_veil_goes_on_where_a_clip_was_stopped(darkening_model: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= SEGMENT_FRAMES:
            raise KeyboardInterrupt

    times = clips.uneven_times(4)
    source = clips.make_clip(tmp_path / "a.mkv", times, flashes={SEGMENT_FRAMES - 2})
    engine = cmudrn.load(darkening_model, threads=1).engine
    veiled = Veiled(engine)
    wanted: dict[str, Any] = {"format": VideoFormat("ffv1"), "dehazing": True}
    restore(veiled, source, tmp_path / "whole.mkv", **wanted)
    with pytest.raises(KeyboardInterrupt):
        restore(veiled, source, tmp_path / "parts.mkv", stop, **wanted)
    joined = restore(veiled, source, tmp_path / "parts.mkv", **wanted)
    assert joined.resumed_at == SEGMENT_FRAMES
    assert (tmp_path / "whole.mkv").read_bytes() == (tmp_path / "parts.mkv").read_bytes()


@pytest.mark.skipif(not instruction_sets("bf16"), reason="no bfloat16 in this processor")
def test_parts_of_another_precision_are_not_used(tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", clips.uneven_times(1), extras=False)
    plans = [
        make_plan(cmudrn.load(threads=n, precision=p), probe(source), {}, ClipSettings())
        for n, p in ((1, "fp32"), (2, "fp32"), (1, "bf16"), (2, "bf16"))
    ]
    assert plans[0] == plans[1]  # float32 gives the same sums with any number of threads
    assert plans[0] != plans[2] != plans[3]


def test_parts_of_other_settings_are_not_used(darkening_model: Path, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", clips.uneven_times(4), extras=False)

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= SEGMENT_FRAMES:
            raise StopError

    target = tmp_path / "b.mkv"
    with pytest.raises(StopError):
        restore(darkening_model, source, target, stop)
    assert list((tmp_path / ".b.mkv.segments").glob("*.npz"))
    record = restore(darkening_model, source, target, strength=0.5)
    assert record.resumed_at == 0


def test_a_moving_ramp_lags_little_after_fusion(identity_model: Path, tmp_path: Path) -> None:
    """The blue of these frames grows by 2 a frame at nearly all places, up to a jump."""
    times = [512 * n for n in range(12)]
    source = clips.make_clip(tmp_path / "a.ts", times, extras=False)
    restore(identity_model, source, tmp_path / "b.ts")
    with av.open(str(source)) as before, av.open(str(tmp_path / "b.ts")) as after:
        old, new = (
            [f.to_ndarray(format="rgb24").mean((0, 1)) for f in clip.decode(video=0)]
            for clip in (before, after)
        )
    assert len(old) == len(new) == 12
    assert 0 < np.abs(np.subtract(old, new)).max() < 2


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels", "colours"),
    [
        (".mkv", "libx264", "yuv420p10le", (9, 1, 9, 14)),
        (".mp4", "libx264", "yuv444p", (5, 2, 5, 6)),
        (".webm", "libvpx-vp9", "yuv420p", (1, 1, 1, 1)),
        (".mkv", "ffv1", "yuv422p", (2, 0, 2, 2)),
        (".ts", "libx264", "yuv420p", (1, 1, 1, 1)),
        (".avi", "mpeg4", "yuv420p", (2, 0, 2, 2)),
    ],
)
def test_every_container_and_pixel_format(
    suffix: str,
    codec: str,
    pixels: str,
    colours: tuple[int, int, int, int],
    identity_model: Path,
    tmp_path: Path,
) -> None:
    times = [512 * n for n in range(12)]
    source = clips.make_clip(
        tmp_path / f"a{suffix}", times, extras=False, codec=codec,
        pixel_format=pixels, colours=colours, unit=25 if codec == "mpeg4" else 12_800,
    ) if codec != "mpeg4" else clips.make_clip(
        tmp_path / f"a{suffix}", list(range(12)), extras=False, codec=codec,
        pixel_format=pixels, colours=colours, unit=25,
    )  # fmt: skip
    target = tmp_path / f"b{suffix}"
    restore(identity_model, source, target, temporal=False)
    assert len(clips.frame_times(target)) == 12
    with av.open(str(source)) as before, av.open(str(target)) as after:
        a, b = next(before.decode(video=0)), next(after.decode(video=0))
        assert b.format.name == a.format.name
        tags = ("colorspace", "color_range", "color_primaries", "color_trc")
        if codec != "mpeg4":
            assert [getattr(b, t) for t in tags] == [getattr(a, t) for t in tags]
        old, new = (f.to_ndarray(format="rgb24").astype(float) for f in (a, b))
        assert np.abs(old.mean((0, 1)) - new.mean((0, 1))).max() < 1.5
    if suffix != ".avi":  # AVI stores no times
        assert clips.frame_times(target) == clips.frame_times(source)


@pytest.mark.parametrize(
    ("source_kind", "target_kind"),
    [
        ((".mov", "png", "rgb24", (65, 49)), (".mov", None, None)),
        ((".mkv", "libx264rgb", "rgb24", (65, 49)), (".mkv", None, None)),
        ((".mov", "png", "rgb24", (64, 48)), (".mkv", None, "yuv444p")),
        ((".mov", "png", "rgb24", (64, 48)), (".mp4", None, None)),
        ((".mov", "png", "rgb24", (64, 48)), (".mov", "prores", None)),
        ((".avi", "mjpeg", "yuvj420p", (64, 48)), (".mov", "prores", None)),
        ((".mov", "png", "rgb24", (64, 48)), (".mkv", "hevc", "gbrp")),
        ((".mkv", "libx264", "yuv420p", (64, 48)), (".mkv", "hevc", "gbrp")),
    ],
)
def test_colours_are_kept_from_rgb_to_yuv_and_back(
    source_kind: tuple[str, str, str, tuple[int, int]],
    target_kind: tuple[str, str | None, str | None],
    identity_model: Path,
    tmp_path: Path,
) -> None:
    suffix, encoder, stored, (width, height) = source_kind
    source = tmp_path / f"a{suffix}"
    with av.open(str(source), "w") as output:
        video = output.add_stream(encoder, rate=25)
        video.width, video.height, video.pix_fmt = width, height, stored
        solid = np.full((height, width, 3), (200, 30, 40), np.uint8)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(solid, format="rgb24").reformat(format=stored)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    suffix, codec, pixels = target_kind
    target = tmp_path / f"b{suffix}"
    form = VideoFormat(codec, pixel_format=pixels)
    restore(identity_model, source, target, strength=0.0, format=form)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        old, frame = next(before.decode(video=0)), next(after.decode(video=0))
    seen, found = (f.to_ndarray(format="rgb24").mean((0, 1)) for f in (old, frame))
    assert np.abs(seen - found).max() <= 3
    assert (int(frame.colorspace) == 0) == frame.format.is_rgb


def test_side_by_side_and_layers(darkening_model: Path, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(5)], extras=False)
    target = tmp_path / "b.mkv"
    record = restore(darkening_model, source, target, side_by_side=True, layers=True)
    with av.open(str(target)) as clip:
        both = next(clip.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    left, right = both[:, : clips.WIDTH], both[:, clips.WIDTH :]
    assert both.shape == (clips.HEIGHT, 2 * clips.WIDTH, 3)
    assert abs(np.median(np.clip(left - 51, 0, 255) - right)) < 3
    grey = {}
    for name, path in record.layers.items():
        with av.open(path) as clip:
            grey[name] = np.median(next(clip.decode(video=0)).to_ndarray(format="rgb24"))
    assert grey["rain"] == pytest.approx(128 + 12.7, abs=3)
    assert grey["snow"] == pytest.approx(128 + 38.1, abs=3)
    assert grey["rain"] < grey["fused"] < grey["snow"]  # black pixels have less to lose


def test_scores_of_clips_of_one_name_do_not_meet(tmp_path: Path) -> None:
    restorer = cmudrn.load("cmudrn-25k", threads=1)
    for suffix, count in ((".mp4", 2), (".mkv", 3)):
        times = [512 * n for n in range(count)]
        source = clips.make_clip(tmp_path / f"a{suffix}", times, extras=False)
        restore(restorer, source, tmp_path / f"b{suffix}", stages=1, recursions=1, score=True)
    sheets = [tmp_path / f"b{suffix}.weather.csv" for suffix in (".mp4", ".mkv")]
    assert [len(sheet.read_text().splitlines()) for sheet in sheets] == [3, 4]


def test_a_schedule_decodes_in_order_and_never_too_late() -> None:
    shown = np.array([0, 30, 10, 20, 400, 60, 90, 500])
    schedule = make_schedule(shown, 7)
    assert all(a < b for a, b in zip(schedule.decoding, schedule.decoding[1:], strict=False))
    assert all(d <= t for d, t in zip(schedule.decoding, shown, strict=True))
    assert schedule.durations == {
        0: 10, 10: 10, 20: 10, 30: 30, 60: 30, 90: 310, 400: 100, 500: 7
    }  # fmt: skip
