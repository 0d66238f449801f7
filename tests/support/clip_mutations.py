"""Small clips in every container, damage to them, and a trial of what came of it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import av
import numpy as np

import cmudrn
from cmudrn.errors import CmudrnError
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.video.limits import ClipLimits
from cmudrn.video.restore_clip import restore_clip
from cmudrn.video.settings import ClipSettings
from support import clips
from support.mutations import mutate

LIMITS = ClipLimits(max_pixels=1_000_000, max_seconds=60.0, max_memory=1 << 30)
FRAMES = 6

_BARE = {
    "avi": ("mjpeg", "yuvj420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "mov": ("png", "rgb24"),
    "ts": ("mpeg2video", "yuv420p"),
    "flv": ("flv", "yuv420p"),
    "mpg": ("mpeg1video", "yuv420p"),
    "wmv": ("wmv2", "yuv420p"),
    "ogv": ("libtheora", "yuv420p"),
    "mxf": ("mpeg2video", "yuv420p"),
    "nut": ("ffv1", "yuv420p"),
    "y4m": ("wrapped_avframe", "yuv420p"),
    "gif": ("gif", "bgr8"),
    "h264": ("libx264", "yuv420p"),
    "ivf": ("libvpx", "yuv420p"),
}
"""Container -> codec and pixel format of a clip that has nothing but pictures."""


def make_clips(folder: Path) -> list[Path]:
    """Write small clips of every container and return their paths.

    MP4 and Matroska also have sound, subtitles, chapters and a rotation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    times = [512 * number for number in range(FRAMES)]
    made = [
        clips.make_clip(folder / "all.mp4", times, rotation=90),
        clips.make_clip(folder / "all.mkv", times, codec="ffv1"),
    ]
    for suffix, (codec, pixel_format) in _BARE.items():
        path = folder / f"bare.{suffix}"
        form = {"ts": "mpegts", "y4m": "yuv4mpegpipe", "mpg": "mpeg", "wmv": "asf", "ogv": "ogg"}
        with av.open(str(path), "w", format=form.get(suffix, suffix)) as output:
            try:
                video = output.add_stream(codec, rate=25)
            except (av.FFmpegError, ValueError):  # this build of FFmpeg lacks the encoder
                continue
            video.width, video.height, video.pix_fmt = clips.WIDTH, clips.HEIGHT, pixel_format
            for number in range(FRAMES):
                frame = av.VideoFrame.from_ndarray(clips.picture(number, False), format="rgb24")
                output.mux(video.encode(frame.reformat(format=pixel_format)))
            output.mux(video.encode(None))
        made.append(path)
    return made


def mutate_clip(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a clip with one to four changes, many of them to its head or its tail."""
    for _ in range(int(rng.integers(1, 5))):
        match int(rng.integers(3)):
            case 0 if data:
                data = mutate(data, rng)
            case 1:
                data = _few_bytes(data, rng, 0, min(len(data), 1024))
            case _:
                data = _few_bytes(data, rng, max(0, len(data) - 4096), len(data))
    return data


def _few_bytes(data: bytes, rng: np.random.Generator, start: int, stop: int) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if stop > start else 0):
        value = rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
        damaged[int(rng.integers(start, stop))] = int(value)
    return bytes(damaged)


@cache
def _restorer() -> Restorer:
    return cmudrn.load("cmudrn", threads=1)


def try_clip(path: Path, results: Path) -> str:
    """Restore a clip at strength 0, which runs no network, and remove what it made.

    Returns "restored", or the name of the error that refused it in one sentence.
    """
    settings = ClipSettings(RestoreSettings(strength=0.0), limits=LIMITS)
    results.mkdir(exist_ok=True)
    try:
        restore_clip(_restorer(), path, results / "result.mkv", settings)
    except CmudrnError as error:
        sentence = str(error)
        assert sentence.endswith(".") and sentence.isprintable(), sentence
        assert not (results / "result.mkv").exists()
        return type(error).__name__
    finally:
        shutil.rmtree(results)
    return "restored"
