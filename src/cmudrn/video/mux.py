"""The segments of a clip, and everything else that the clip held, as one file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from cmudrn.errors import TargetError
from cmudrn.files import replace_file
from cmudrn.video.carry import (
    Carried,
    add_copy,
    copied_packets,
    missing_tags,
    plain_tags,
)
from cmudrn.video.colour import to_frame
from cmudrn.video.decode import Clip, open_clip, side_data_of
from cmudrn.video.encode import CODECS, QUICKTIME, Encoding, container_format
from cmudrn.video.segments import Encoded, SegmentStore
from cmudrn.video.timeline import Timeline, make_schedule, may_jump

_SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA": "mastering display (HDR)",
    "CONTENT_LIGHT_LEVEL": "content light level (HDR)",
    "DYNAMIC_HDR_PLUS": "dynamic metadata (HDR10+)",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "A53_CC": "closed captions",
    "S12M_TIMECODE": "time code of each frame",
    "STEREO3D": "stereo layout",
    "SPHERICAL": "spherical projection",
    "ICC_PROFILE": "ICC profile",
    "AFD": "active format",
    "PANSCAN": "pan and scan",
    "FILM_GRAIN_PARAMS": "film grain",
    "DYNAMIC_HDR_VIVID": "dynamic metadata (HDR Vivid)",
    "AMBIENT_VIEWING_ENVIRONMENT": "viewing environment",
}
"""What a frame may carry, by FFmpeg's names, in words."""


def check_muxable(clip: Clip, encoding: Encoding, target: Path, carried: Carried | None) -> None:
    """Write a trial of the result, header and first packets, so that refusals come before the work.

    Args:
        clip: the source.
        encoding: of the result.
        target: its suffix says which container it is.
        carried: what else goes into it; None is nothing, chapters neither.

    Raises:
        TargetError: the container does not take it.
    """
    with open_clip(clip.path) as source:
        try:
            _write_trial(source, clip, encoding, target, carried)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TargetError(
                f"{target}: a {target.suffix} file does not take this clip as {encoding.codec}: "
                f"{reason}.",
                path=target,
            ) from error


def _write_trial(
    source: Any, clip: Clip, encoding: Encoding, target: Path, carried: Carried | None
) -> None:
    options = _container_options(source, target)
    if "movflags" in options:  # which moves the header to the front, and for that needs a file
        options["movflags"] = options["movflags"].removeprefix("+faststart") or "-faststart"
    form = container_format(target)
    with av.open(BytesIO(), "w", format=form, container_options=options) as output:
        video, _ = _add_streams(output, source, clip, encoding, carried)
        output.start_encoding()
        for packet in _trial_packets(encoding):
            packet.stream = video
            output.mux_one(packet)


def mux_segments(
    clip: Clip,
    store: SegmentStore,
    count: int,
    name: str,
    encoding: Encoding,
    target: Path,
    carried: Carried | None,
) -> list[str]:
    """Write one result as a file and return notes about what the container did not keep.

    Args:
        clip: the source; its other streams, chapters and metadata are copied.
        store: where the encoded frames are.
        count: how many segments there are.
        name: of the result in the segments.
        encoding: how it was encoded.
        target: the file to write.
        carried: what else goes into it; None is nothing, chapters neither.

    Raises:
        TargetError: the file cannot be written.
    """
    # Made where a killed run leaves no half file in the user's way.
    temporary = store.path / f"muxed.{name}{target.suffix}"
    with open_clip(clip.path) as source:
        try:
            pairs = _write(source, clip, store, count, name, encoding, temporary, carried)
            notes = _compare(source, clip, store, count, name, temporary, pairs)
            replace_file(temporary, target, like=[clip.path])
        except (av.FFmpegError, OSError) as error:
            raise TargetError(f"Cannot write {target}: {error.strerror}.", path=target) from error
    return notes


def _write(
    source: Any,
    clip: Clip,
    store: SegmentStore,
    count: int,
    name: str,
    encoding: Encoding,
    path: Path,
    carried: Carried | None,
) -> dict[int, int]:
    """Write the file; return stream's index in the clip -> in the result."""
    options = _container_options(source, path)
    form = container_format(path)
    with av.open(f"file:{path}", "w", format=form, container_options=options) as output:
        video, copies = _add_streams(output, source, clip, encoding, carried)
        if form == "avi" and _is_constant(_times(store, count, name), clip):
            video.time_base = 1 / clip.rate  # or AVI would round times to a unit of its own
        output.start_encoding()
        ours = _video_packets(store, count, name, clip, video)
        others = copied_packets(_source_packets(source, copies), copies)
        for packet in _in_order(ours, others):
            output.mux_one(packet)
        return {clip.stream: video.index} | {index: copy.index for index, copy in copies.items()}


def _add_streams(
    output: Any, source: Any, clip: Clip, encoding: Encoding, carried: Carried | None
) -> tuple[Any, dict[int, Any]]:
    """Prepare the header; return the video stream and the copies by their index in the clip."""
    output.metadata.update(plain_tags(source.metadata))
    copies: dict[int, Any] = {}
    video: Any = None
    copied = carried.streams if carried else ()
    for stream in source.streams:
        if stream.index == clip.stream:
            video = _add_video(output, stream, clip, encoding)
        elif stream.index in copied:
            copies[stream.index] = add_copy(output, stream)
    for name, media_type, data in carried.attachments if carried else ():
        output.add_attachment(name, media_type, data)
    if source.chapters() and carried is not None:
        output.set_chapters(source.chapters())
    return video, copies


def _add_video(output: Any, stream: Any, clip: Clip, encoding: Encoding) -> Any:
    video = output.add_stream(CODECS[encoding.codec].encoder, rate=encoding.rate)
    encoding.configure(video.codec_context)
    if encoding.codec_tag is not None:
        video.codec_context.codec_tag = encoding.codec_tag
    video.time_base = encoding.time_base
    if clip.rotation is not None:
        video.set_display_matrix(clip.rotation)
    video.metadata.update(plain_tags(stream.metadata))
    video.disposition = stream.disposition
    return video


def _container_options(source: Any, path: Path) -> dict[str, str]:
    form = container_format(path)
    # Else Matroska and Ogg number themselves at random, and no two runs give the same bytes.
    same = {"fflags": "+bitexact"}
    if form not in QUICKTIME:
        return same | (
            {"avoid_negative_ts": "disabled"} if form in ("matroska", "webm", "avi") else {}
        )
    usual = {
        "title", "artist", "album", "album_artist", "comment", "date", "genre", "copyright",
        "description", "synopsis", "creation_time", "composer", "track", "lyrics", "location",
        "timecode",
    }  # fmt: skip
    special = set(plain_tags(source.metadata)) - usual
    return same | {"movflags": "+faststart" + ("+use_metadata_tags" if special else "")}


def _source_packets(source: Any, copies: dict[int, Any]) -> Iterator[Any]:
    """Yield the packets of the copied streams, at times that go on where the clip's jump."""
    if not copies:
        return
    if not may_jump(source):
        yield from source.demux(*[source.streams[index] for index in copies])
        return
    timeline = Timeline()
    for packet in source.demux():
        timeline.place(packet)
        yield packet


def _trial_packets(encoding: Encoding) -> Iterator[Any]:
    """Yield an encoded grey frame."""
    encoder = encoding.open_encoder()
    grey = np.full((encoding.height, encoding.width, 3), 128, np.uint8)
    frame = to_frame(grey, encoding.pixel_format, encoding.colours)
    frame.pts, frame.time_base = 0, encoding.encoder_time_base
    for packet in [*encoder.encode(frame), *encoder.encode(None)]:
        packet.pts = packet.dts = 0
        packet.time_base = encoding.time_base
        packet.duration = max(1, round(1 / (encoding.rate * encoding.time_base)))
        yield packet


def _video_packets(
    store: SegmentStore, count: int, name: str, clip: Clip, video: Any
) -> Iterator[Any]:
    times = _times(store, count, name)
    usual = max(1, round(1 / (clip.rate * clip.time_base)))
    ends = {p.time: p.duration for p in store.packets(count - 1, name)}
    schedule = make_schedule(times, ends[max(ends)] or usual)
    decoding = iter(schedule.decoding)
    for number in range(count):
        for encoded in store.packets(number, name):
            yield _packet(encoded, next(decoding), schedule.durations[encoded.time], clip, video)


def _times(store: SegmentStore, count: int, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([store.times(number, name) for number in range(count)])


def _is_constant(times: np.ndarray[Any, np.dtype[np.int64]], clip: Clip) -> bool:
    """Return whether frames follow each other at the average rate all along."""
    shown = np.sort(times)
    even = shown[0] + np.arange(len(shown)) * float(1 / (clip.rate * clip.time_base))
    return bool(np.abs(shown - even).max() * float(clip.rate * clip.time_base) < 0.5)


def _packet(encoded: Encoded, decoding: int, duration: int, clip: Clip, video: Any) -> Any:
    packet = av.Packet(encoded.data)
    packet.pts, packet.dts, packet.duration = encoded.time, decoding, duration
    packet.time_base = clip.time_base
    packet.is_keyframe = encoded.is_key
    packet.stream = video
    return packet


def _in_order(ours: Iterator[Any], others: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets of both by the time of decoding."""
    mine = next(ours, None)
    for other in others:
        when = _decoded_at(other)
        while mine is not None and _decoded_at(mine) <= when:
            yield mine
            mine = next(ours, None)
        yield other
    while mine is not None:
        yield mine
        mine = next(ours, None)


def _decoded_at(packet: Any) -> Fraction:
    time: int = packet.dts if packet.dts is not None else packet.pts
    unit: Fraction = packet.time_base
    return time * unit


def _compare(
    source: Any,
    clip: Clip,
    store: SegmentStore,
    count: int,
    name: str,
    path: Path,
    pairs: dict[int, int],
) -> list[str]:
    """Read the finished file back and return notes on what of the clip is not in it."""
    if name != "restored":
        return []
    with open_clip(path) as result:
        notes = missing_tags(source, result, pairs)
        video = result.streams[pairs[clip.stream]]
        first = next(iter(result.decode(video)), None)
        if first is not None:
            kept = side_data_of(first)
            lost = sorted({_SIDE_DATA[k] for k in clip.side_data - kept if k in _SIDE_DATA})
            if lost:
                notes.append(f"Not kept of the frames: {', '.join(lost)}.")
    with open_clip(path) as result:
        video = result.streams[pairs[clip.stream]]
        if not _keeps_times(result, video, np.sort(_times(store, count, name)), clip):
            notes.append(f"A {path.suffix} file does not keep the time of every frame exactly.")
    return notes


def _keeps_times(
    result: Any, video: Any, expected: np.ndarray[Any, np.dtype[np.int64]], clip: Clip
) -> bool:
    """Return whether frames are as far apart in the finished file as in the clip."""
    found = sorted(
        packet.pts if packet.pts is not None else packet.dts
        for packet in result.demux(video)
        if packet.size and (packet.pts is not None or packet.dts is not None)
    )
    if len(found) != len(expected):
        return False
    unit = float(video.time_base)
    old = (expected - expected[0]) * float(clip.time_base)
    new = (np.array(found) - found[0]) * unit
    # A container rounds times to its own unit.
    return bool(np.abs(old - new).max() <= max(unit, float(clip.time_base), 0.001))
