"""Clips of every container, made by FFmpeg's program, whose ends are cut off."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

FRAMES, RATE = 100, 25

KINDS = {
    "mp4": "-c:v libx264",
    "mp4, index first": "-c:v libx264 -movflags +faststart",
    "mp4, HEVC, index first": "-c:v libx265 -x265-params log-level=0 -movflags +faststart",
    "mp4, fragments": "-c:v libx264 -movflags frag_keyframe",
    "mov, ProRes, index first": "-c:v prores_ks -movflags +faststart",
    "mkv": "-c:v libx264",
    "mkv, FFV1": "-c:v ffv1",
    "webm": "-c:v libvpx-vp9 -cpu-used 8",
    "avi": "-c:v libx264 -bf 0",
    "avi, MPEG-4": "-c:v mpeg4",
    "avi, MJPEG": "-c:v mjpeg",
    "ts": "-c:v libx264",
    "ts, HEVC": "-c:v libx265 -x265-params log-level=0",
    "m2ts": "-c:v libx264",
    "mpg": "-c:v mpeg2video",
    "vob": "-c:v mpeg2video",
    "wmv": "-c:v wmv2",
    "ogv": "-c:v libtheora",
    "flv": "-c:v libx264",
    "mxf": "-c:v mpeg2video",
    "nut": "-c:v libx264",
    "gif": "-c:v gif",
    "y4m": "-pix_fmt yuv420p",
    "ivf": "-c:v libvpx",
    "h264": "-c:v libx264",
}
"""Container and what is special -> options of FFmpeg's program."""
_MUTE = ("gif", "y4m", "ivf", "h264")


def make(folder: Path, kind: str) -> Path | None:
    """Write a clip of four seconds; None where FFmpeg does not write it."""
    suffix = kind.split(",")[0]
    path = folder / f"{kind.replace(', ', '-').replace(' ', '-')}.{suffix}"
    sound = "" if suffix in _MUTE else f"-f lavfi -i sine=r=48000:d={FRAMES / RATE}"
    picture = f"-f lavfi -i testsrc2=s=160x128:r={RATE}:d={FRAMES / RATE}"
    command = f"ffmpeg -v error -y {picture} {sound} {KINDS[kind]} -g 25 {path}"
    done = subprocess.run(command.split(), capture_output=True, check=False)
    return path if done.returncode == 0 and path.stat().st_size else None


def count_frames(path: Path) -> int:
    """Return how many frames ffprobe decodes; 0 where it cannot read the file."""
    command = "ffprobe -v error -count_frames -select_streams v:0 -show_entries"
    done = subprocess.run(
        [*command.split(), "stream=nb_read_frames", "-of", "json", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return int(json.loads(done.stdout)["streams"][0]["nb_read_frames"])
    except (ValueError, KeyError, IndexError):
        return 0
