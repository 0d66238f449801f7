"""Clips of every container and codec that FFmpeg's program writes, and what a run changed of them.

The clips are made by `ffmpeg` and read by `ffprobe`, and by `mediainfo` where it is installed:
programs that share no code of ours.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.files.kinds import VIDEO_SUFFIXES

FRAMES, RATE = 10, 25
TITLE = "Größe"


@dataclass(frozen=True)
class Kind:
    """How a clip is encoded.

    Attributes:
        encoder: what `ffmpeg` is told.
        size: columns x rows.
    """

    encoder: str
    size: str = "64x48"


_TAGGED = "-color_primaries bt709 -color_trc bt709 -colorspace bt709"

KINDS = {
    "h264": Kind(f"libx264 -pix_fmt yuv420p {_TAGGED}"),
    "h264 full range": Kind(f"libx264 -pix_fmt yuvj420p {_TAGGED}"),
    "h264 4:2:2 10 bit": Kind(f"libx264 -pix_fmt yuv422p10le {_TAGGED}"),
    "h264 4:4:4": Kind(f"libx264 -pix_fmt yuv444p {_TAGGED}"),
    "hevc 10 bit": Kind(f"libx265 -pix_fmt yuv420p10le -x265-params log-level=none {_TAGGED}"),
    "vp8": Kind("libvpx -pix_fmt yuv420p"),
    "vp9": Kind(f"libvpx-vp9 -pix_fmt yuv420p {_TAGGED}"),
    "av1": Kind(f"libsvtav1 -pix_fmt yuv420p {_TAGGED}", "128x96"),
    "mpeg1": Kind("mpeg1video -pix_fmt yuv420p"),
    "mpeg2": Kind(f"mpeg2video -pix_fmt yuv420p {_TAGGED}"),
    "mpeg2 4:2:2": Kind("mpeg2video -pix_fmt yuv422p"),
    "mpeg4": Kind("mpeg4 -pix_fmt yuv420p"),
    "h263": Kind("h263 -pix_fmt yuv420p", "176x144"),
    "flv1": Kind("flv -pix_fmt yuv420p"),
    "wmv2": Kind("wmv2 -pix_fmt yuv420p"),
    "theora": Kind("libtheora -pix_fmt yuv420p", "128x96"),
    "mjpeg": Kind("mjpeg -pix_fmt yuvj422p"),
    "prores": Kind(f"prores_ks -pix_fmt yuv422p10le {_TAGGED}"),
    "dnxhr": Kind("dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p", "256x120"),
    "ffv1 4:2:2 10 bit": Kind(f"ffv1 -pix_fmt yuv422p10le {_TAGGED}"),
    "ffv1 grey": Kind("ffv1 -pix_fmt gray"),
    "ffv1 RGB": Kind("ffv1 -pix_fmt bgr0"),
    "utvideo": Kind("utvideo -pix_fmt yuv422p"),
    "png": Kind("png -pix_fmt rgb24"),
}
"""Name -> kind of clip."""

CONTAINERS = [
    "mp4", "mov", "m4v", "mkv", "webm", "avi", "ts", "m2ts", "mpg", "vob", "wmv", "ogv", "flv",
    "3gp", "mxf", "nut",
]  # fmt: skip


def make(path: Path, kind: str) -> bool:
    """Write a clip with sound and a title; return False where the container refuses it."""
    chosen = KINDS[kind]
    sound = {"ogv": "-c:a libvorbis", "webm": "-c:a libopus"}.get(path.suffix[1:], "")
    command = (
        f"ffmpeg -v error -y -f lavfi -i testsrc2=s={chosen.size}:r={RATE}:d={FRAMES / RATE} "
        f"-f lavfi -i sine=r=48000:d={FRAMES / RATE} -metadata title={TITLE} {sound} "
        f"-threads 1 -c:v {chosen.encoder}"
    )
    done = subprocess.run([*command.split(), str(path)], capture_output=True, check=False)
    if done.returncode == 0 and path.stat().st_size and look(path).get("frames") == FRAMES:
        return _is_decodable(path)
    path.unlink(missing_ok=True)
    return False


def _is_decodable(path: Path) -> bool:
    """Return whether ffprobe decodes all frames: it writes HEVC into AVI and cannot read it."""
    command = "ffprobe -v quiet -select_streams v:0 -count_frames -of csv=p=0 -show_entries"
    command += f" stream=nb_read_frames {path}"
    found = subprocess.run(command.split(), capture_output=True, check=False).stdout
    return found.replace(b",", b" ").split()[:1] == [str(FRAMES).encode()]  # of programs again


def target_of(source: Path) -> Path:
    """Return where a clip's result goes: `.mkv` where none is written in its container."""
    suffix = source.suffix if source.suffix in VIDEO_SUFFIXES else ".mkv"
    return source.with_name(f"out-{source.name}{suffix}")


def look(path: Path) -> dict[str, Any]:
    """Return what ffprobe says of a clip; {} where it reads no video."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format"]
    # AVI numbers its packets; to some frames ffprobe adds the delay of the codec.
    avi = path.suffix == ".avi"
    time, kind = ("dts_time", "codec_type") if avi else ("best_effort_timestamp_time", "media_type")
    each = "packet" if avi else "frame"
    command += ["-show_entries", f"{each}={time},stream_index,{kind}"]
    done = subprocess.run([*command, str(path)], capture_output=True, check=False)
    found = json.loads(done.stdout or b"{}")
    streams = found.get("streams", [])
    videos = [stream for stream in streams if stream["codec_type"] == "video"]
    if not videos or "codec_name" not in videos[0]:
        return {}
    video, index = videos[0], videos[0]["index"]
    shown = [
        float(frame.get(time, "nan"))
        for frame in found.get(f"{each}s", [])
        if frame.get("stream_index", index) == index and frame[kind] == "video"
    ]
    depth, chroma = _format(video.get("pix_fmt", ""))
    tags = {key.lower(): value for key, value in found["format"].get("tags", {}).items()}
    own = {key.lower(): value for key, value in video.get("tags", {}).items()}
    return {
        "codec": video["codec_name"],
        "size": (video["width"], video["height"], video.get("sample_aspect_ratio", "1:1")),
        "depth": depth,
        "chroma": chroma,
        "range": "pc" if _is_full(video) else "tv",
        "colours": tuple(
            video.get(f"color_{name}", "unknown") for name in ("space", "primaries", "transfer")
        ),
        "frames": len(shown),
        "times": _from_the_first(shown, disordered=path.suffix == ".mxf"),
        "rate": Fraction(video["avg_frame_rate"].replace("/0", "/1")),
        "duration": float(found["format"].get("duration", "nan")) - _late(found["format"]),
        "title": tags.get("title", own.get("title", "")),
        "sound": sum(stream["codec_type"] == "audio" for stream in streams),
    }


def _late(container: dict[str, Any]) -> float:
    """Return what a container counts as a part of its duration before its first time, seconds."""
    counts = container.get("format_name", "") in ("matroska,webm", "nut")
    return max(0.0, float(container.get("start_time", 0))) if counts else 0.0


def _is_full(video: dict[str, Any]) -> bool:
    name = video.get("pix_fmt", "")
    rgb = name.startswith(("rgb", "bgr", "gbr", "0rgb", "pal"))
    return bool(rgb or name.startswith("yuvj") or video.get("color_range") == "pc")


def _from_the_first(shown: list[float], *, disordered: bool) -> NDArray[np.float64]:
    """Return the times of frames from the first on; ffprobe 5 shows those of MXF in disorder."""
    times = np.sort(shown) if disordered else np.array(shown, np.float64)
    return times - np.nanmin(times) if shown else np.zeros(0)


def _format(name: str) -> tuple[int, str]:
    """Return bits and chroma of a pixel format."""
    depth = next((bits for bits in (16, 14, 12, 10) if f"{bits}le" in name), 8)
    chroma = next((c for c in ("420", "422", "444", "440", "411", "410") if c in name), "RGB")
    return depth, "grey" if name.startswith("gray") else chroma


def look_again(path: Path) -> dict[str, Any]:
    """Return what mediainfo says of a clip; {} where it is not installed or reads no video."""
    if not shutil.which("mediainfo"):
        return {}
    command = ["mediainfo", "--Output=JSON", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    found = json.loads(done.stdout or b"{}")
    tracks = (found.get("media") or {}).get("track", [])
    videos = [track for track in tracks if track["@type"] == "Video"]
    if not videos:
        return {}
    video, general = videos[0], tracks[0]
    delays = [float(track.get("Delay", 0)) for track in tracks[1:]]
    late = max(0.0, min(delays)) if general.get("Format") in ("Matroska", "WebM") else 0.0
    return {
        "size": tuple(int(video[side]) for side in ("Width", "Height")),
        "depth": int(video["BitDepth"]) if "BitDepth" in video else None,
        "chroma": {"4:2:0": "420", "4:2:2": "422", "4:4:4": "444"}.get(
            video.get("ChromaSubsampling", ""), video.get("ColorSpace", "")
        ),
        "range": video.get("colour_range"),
        "frames": video.get("FrameCount"),
        "mode": video.get("FrameRate_Mode"),
        "rate": float(video.get("FrameRate", 0)),
        "duration": float(general.get("Duration", "nan")) - late,
        "title": general.get("Title"),
        "sound": sum(track["@type"] == "Audio" for track in tracks),
    }


UNCOUNTED = {".mpg", ".vob", ".ts", ".m2ts"}
"""Containers without a number of frames; mediainfo works it out from times."""
_TOLD = {
    "title": "tag", "sound": "audio", "times": "times", "depth": "bits",
    "chroma": "lower resolution", "duration": "no time of their own",
    "mode": "no time of their own",
}  # fmt: skip
"""What differs -> a word of the note that tells of it."""
_WIDER = {("chroma", "grey"), ("chroma", "RGB"), ("range", "RGB")}
"""What YUV may be otherwise: grey has no colours, and RGB becomes YUV of limited range."""


def differences(source: Path, target: Path, notes: tuple[str, ...]) -> list[str]:
    """Return what is otherwise in a result and not told of in a note, in words; [] is as it was."""
    before, after = look(source), look(target)
    if not after:
        return ["no video"]
    found = [
        f"{name}: {before[name]} became {after[name]}"
        for name in ("size", "depth", "chroma", "range", "frames", "title", "sound")
        if before[name] != after[name]
        and (name, before["chroma"]) not in _WIDER
        and not (name == "range" and after["codec"] in ("prores", "mpeg2video"))  # no tag for it
    ]
    known = [
        (was, now)
        for was, now in zip(before["colours"], after["colours"], strict=True)
        if was not in ("unknown", "gbr", now)
    ]
    found += [f"colours: {was} became {now}" for was, now in known]
    if before["frames"] == after["frames"]:
        # ffprobe gives the last frame of an MPG no time.
        late = np.nanmax(np.abs(before["times"] - after["times"]), initial=0)
        gone = [int(np.isnan(one["times"]).sum()) for one in (before, after)]
        # Of some MXF files it gives several frames one time.
        distinct = source.suffix != ".mxf" or np.all(np.diff(before["times"]) != 0)
        if (distinct and late > 0.0011) or gone[1] > max(1, gone[0]):
            found.append(f"times: {late:.3f} s apart")
    if before["chroma"] == "RGB" and after["chroma"] not in ("RGB", "444"):
        found.append(f"chroma: RGB became {after['chroma']}")
    if before["rate"] and abs(before["rate"] - after["rate"]) > 0.01 * before["rate"]:
        found.append(f"rate: {float(before['rate']):.3f} became {float(after['rate']):.3f}")
    # The header of an AVI file counts frames, whatever the sound.
    if target.suffix != ".avi" and abs(before["duration"] - after["duration"]) > 1.5 / RATE:
        found.append(f"duration: {before['duration']:.3f} became {after['duration']:.3f}")
    counted = not {source.suffix, target.suffix} & UNCOUNTED
    again = look_again(target)
    if target.suffix == ".wmv":
        again["chroma"] = None  # mediainfo says 4:2:0 of all H.264 in it
    found += _differences_again(look_again(source), again, counted=counted)
    told = " ".join(notes).lower()
    return [one for one in found if _TOLD.get(one.split(":")[0], "\0") not in told]


def _differences_again(
    before: dict[str, Any], after: dict[str, Any], *, counted: bool
) -> list[str]:
    """Return what mediainfo says otherwise of a result, in words; what it does not know counts not.

    RGB and grey are not compared, because mediainfo names their chroma by codec.
    """
    if "size" not in before or "size" not in after:
        return []
    yuv = before["chroma"] in ("420", "422", "444")
    exact = ("size", "depth", "title", "sound", *(("frames",) if counted else ()))
    found = [
        f"{name}: {before[name]} became {after[name]} for mediainfo"
        for name in (*exact, *(("chroma", "range") if yuv else ()))
        if before[name] is not None and after[name] is not None and before[name] != after[name]
    ]
    if (before["mode"], after["mode"]) == ("CFR", "VFR"):
        found.append("mode: CFR became VFR for mediainfo")
    for name, most in (("rate", 0.01 * before["rate"]), ("duration", 2.75 / RATE)):
        if before[name] and after[name] and abs(before[name] - after[name]) > most:
            found.append(f"{name}: {before[name]} became {after[name]} for mediainfo")
    return found
