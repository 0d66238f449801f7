"""What of a clip is missing: FFmpeg skips it silently."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av

from cmudrn.video.cut_files import Cut, find_cut
from cmudrn.video.decode import Clip, open_clip, packets

_TIMED = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "flv", "mxf")
"""Containers that say at their begin how long they are; of others FFmpeg estimates it."""


@dataclass(frozen=True)
class _Found:
    """What the packets of a clip tell.

    Attributes:
        packets: of its pictures.
        damaged: how many of them are.
        ends: when the last picture ends, seconds.
        is_cut: whether the last packet of a stream is damaged.
    """

    packets: int
    damaged: int
    ends: float
    is_cut: bool


@dataclass(frozen=True)
class _Said:
    """What the container says.

    Attributes:
        listed: frames in the index; 0 is unknown.
        frames: of pictures; 0 is unknown.
        seconds: of pictures; 0 is unknown.
        whole: of the file; 0 is unknown.
    """

    listed: int
    frames: int
    seconds: float
    whole: float


def check_integrity(clip: Clip, frames: int) -> list[str]:
    """Return notes on what a clip announces and does not hold.

    Args:
        clip: the clip.
        frames: how many frames of it were decoded.

    Raises:
        VideoFileError: the file cannot be read.
    """
    with open_clip(clip.path) as container:
        stream = container.streams[clip.stream]
        said = _look_at_head(container, stream)
        found = _look_at_packets(container, stream, clip)
    cut = find_cut(clip.path)
    # Packets without a frame are nothing amiss where they may hold one field or nothing to show.
    in_pairs = clip.interlaced or clip.codec in ("vp8", "mpeg4")
    if cut or found.is_cut:
        cut = cut or Cut(clip.path.stat().st_size)
        return [f"The file is {cut}: {_what_there_is(said, found, frames, clip, in_pairs)}."]
    if found.packets < said.listed or (frames < found.packets and not in_pairs):
        most = max(said.listed, found.packets)
        return [f"The file says {most} frames; {frames} could be decoded."]
    if said.seconds > found.ends + max(1.0, float(2 / clip.rate)):
        return [f"The file says {said.seconds:.1f} s of video; it ends after {found.ends:.1f} s."]
    if found.damaged:
        return [f"The video is damaged in {found.damaged} of {found.packets} packets."]
    return []


def _what_there_is(said: _Said, found: _Found, frames: int, clip: Clip, in_pairs: bool) -> str:
    """Return how much of a clip that is cut off could be decoded."""
    if not in_pairs and said.frames >= max(frames, found.packets):
        return f"{frames} of {said.frames} frames could be decoded"
    count = "1 frame" if frames == 1 else f"{frames} frames"
    seconds = said.seconds or said.whole
    if seconds > found.ends + float(0.5 / clip.rate):
        return f"{count} could be decoded, {found.ends:.2f} of {seconds:.2f} s"
    return f"{count} could be decoded, and how many there were is not known"


def _look_at_head(container: Any, stream: Any) -> _Said:
    name = container.format.name
    # What an edit list cuts off is in the file, but not to be shown.
    listed = sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries)
    seconds = _seconds(stream.metadata.get("DURATION", ""))
    whole = (container.duration or 0) / av.time_base if name in _TIMED else 0.0
    return _Said(listed, stream.frames if name == "avi" else listed, seconds, whole)


def _look_at_packets(container: Any, stream: Any, clip: Clip) -> _Found:
    count = damaged = end = 0
    last = dict[int, bool]()
    for packet in packets(container):
        if not packet.size:
            continue
        last[packet.stream.index] = packet.is_corrupt
        if packet.stream.index == stream.index:
            count += not packet.is_discard
            damaged += packet.is_corrupt
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
    start = stream.start_time or 0
    return _Found(count, damaged, float((end - start) * clip.time_base), any(last.values()))


def _seconds(text: str) -> float:
    """Return the seconds of Matroska's "00:01:02.500000000"; 0 where it is something else."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text.strip())
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else 0.0
