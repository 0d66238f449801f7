"""The parts of a clip, and everything else that the clip held, as one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.video.decode import Clip, is_cover, open_clip
from cmudrn.video.encode import CODECS, Encoding, container_format
from cmudrn.video.segments import Encoded, PartsFolder

_QUICKTIME = ("mp4", "mov")


@dataclass(frozen=True)
class Schedule:
    """When packets are decoded and how long frames last, in the clip's time base.

    Attributes:
        decoding: time of decoding of each packet, strictly rising, never after it is shown.
        durations: time shown -> how long.
    """

    decoding: list[int]
    durations: dict[int, int]


def make_schedule(times: np.ndarray[Any, np.dtype[np.int64]], last_duration: int) -> Schedule:
    """Return when to decode packets that are shown at `times`, given in the order of decoding.

    Packets are decoded at the times at which frames are shown, as many frames earlier as the
    furthest that a packet comes after its place in the order of showing.
    """
    shown = np.sort(times)
    rank = np.searchsorted(shown, times)
    delay = int(max(0, (np.arange(len(times)) - rank).max()))
    early = shown[0] - np.arange(delay, 0, -1)
    decoding = np.concatenate([early, shown[: len(shown) - delay]])
    durations = np.diff(shown, append=shown[-1] + last_duration)
    return Schedule(decoding.tolist(), dict(zip(shown.tolist(), durations.tolist(), strict=True)))


def join_parts(
    clip: Clip,
    parts: PartsFolder,
    count: int,
    name: str,
    encoding: Encoding,
    target: Path,
    *,
    alone: bool = False,
) -> list[str]:
    """Write one result as a file and return notes about what the container did not take.

    Args:
        clip: the source; its other streams, chapters and metadata are copied.
        parts: where the encoded frames are.
        count: how many parts there are.
        name: of the result in the parts.
        encoding: how it was encoded.
        target: the file to write.
        alone: leave sound and everything else away.

    Raises:
        CmudrnError: the file cannot be written.
    """
    # Made where a killed run leaves no half file in the user's way.
    temporary = parts.path / f"joined.{name}{target.suffix}"
    with open_clip(clip.path) as source:
        try:
            notes = _write(source, clip, parts, count, name, encoding, temporary, alone=alone)
            os.replace(temporary, target)
        except (av.FFmpegError, OSError) as error:
            raise CmudrnError(f"Cannot write {target}: {error.strerror}.") from error
    return notes


def _write(  # noqa: PLR0913
    source: Any,
    clip: Clip,
    parts: PartsFolder,
    count: int,
    name: str,
    encoding: Encoding,
    path: Path,
    *,
    alone: bool,
) -> list[str]:
    carried, notes = ([], []) if alone else _carried(source, clip, path)
    options = _container_options(source, path)
    form = container_format(path)
    with av.open(f"file:{path}", "w", format=form, container_options=options) as output:
        output.metadata.update(_plain(source.metadata))
        streams: dict[int, Any] = {}
        video: Any = None
        for stream in source.streams:
            if stream.index == clip.stream:
                video = _add_video(output, stream, clip, encoding)
            elif stream in carried:
                streams[stream.index] = _add_copy(output, stream)
        if not alone and source.chapters():
            output.set_chapters(source.chapters())
        output.start_encoding()
        ours = _video_packets(parts, count, name, clip, video)
        others = _copied_packets(source, carried, streams)
        for packet in _in_order(ours, others):
            output.mux_one(packet)
    return notes


def _add_video(output: Any, stream: Any, clip: Clip, encoding: Encoding) -> Any:
    video = output.add_stream(CODECS[encoding.codec].encoder, rate=encoding.rate)
    encoding.configure(video.codec_context)
    video.time_base = encoding.time_base
    if clip.rotation is not None:
        video.set_display_matrix(clip.rotation)
    _copy_tags(stream, video)
    video.metadata.pop("alpha_mode", None)  # the result is opaque
    return video


def _add_copy(output: Any, stream: Any) -> Any:
    copy = output.add_stream_from_template(stream, opaque=True)
    _copy_tags(stream, copy)
    return copy


def _copy_tags(stream: Any, copy: Any) -> None:
    copy.metadata.update(_plain(stream.metadata))
    copy.disposition = stream.disposition


def _plain(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata without what a container says about its own making."""
    own = {
        "major_brand", "minor_version", "compatible_brands", "encoder", "DURATION", "duration",
        "NUMBER_OF_BYTES", "NUMBER_OF_FRAMES", "BPS",
    }  # fmt: skip
    return {key: value for key, value in metadata.items() if key not in own}


def _container_options(source: Any, path: Path) -> dict[str, str]:
    form = container_format(path)
    # Else Matroska and Ogg number themselves at random, and no two runs give the same bytes.
    same = {"fflags": "+bitexact"}
    if form not in _QUICKTIME:
        return same | ({"avoid_negative_ts": "disabled"} if form in ("matroska", "webm") else {})
    usual = {
        "title", "artist", "album", "album_artist", "comment", "date", "genre", "copyright",
        "description", "synopsis", "creation_time", "composer", "track", "lyrics", "location",
    }  # fmt: skip
    special = set(_plain(source.metadata)) - usual
    return same | {"movflags": "+faststart" + ("+use_metadata_tags" if special else "")}


def _carried(source: Any, clip: Clip, path: Path) -> tuple[list[Any], list[str]]:
    """Return the streams to copy, and notes about those that the container refuses."""
    carried, notes = [], []
    for stream in source.streams:
        if stream.index == clip.stream or _is_chapter_track(source, stream):
            continue
        if _is_taken(stream, path):
            carried.append(stream)
        else:
            kind = "cover" if stream.type == "video" and is_cover(stream) else stream.type
            notes.append(
                f"Stream {stream.index} ({kind}) was left out: {path.suffix} does not take it."
            )
    return carried, notes


def _is_chapter_track(source: Any, stream: Any) -> bool:
    """Return whether a stream holds the chapters' titles once more, as QuickTime does."""
    hidden = stream.type == "data" and stream.discard == av.stream.Discard.all
    return bool(hidden and source.chapters())


def _is_taken(stream: Any, path: Path) -> bool:
    if container_format(path) == "mpegts" and stream.type == "subtitle":
        # It would take others too, as data that nobody reads.
        return stream.codec_context.name in ("dvbsub", "dvb_teletext", "libzvbi_teletextdec")
    try:
        with av.open(BytesIO(), "w", format=container_format(path)) as trial:
            _add_copy(trial, stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _video_packets(
    parts: PartsFolder, count: int, name: str, clip: Clip, video: Any
) -> Iterator[Any]:
    times = np.concatenate([parts.times(number, name) for number in range(count)])
    usual = max(1, round(1 / (clip.rate * clip.time_base)))
    ends = {p.time: p.duration for p in parts.packets(count - 1, name)}
    schedule = make_schedule(times, ends[max(ends)] or usual)
    decoding = iter(schedule.decoding)
    for number in range(count):
        for encoded in parts.packets(number, name):
            yield _packet(encoded, next(decoding), schedule.durations[encoded.time], clip, video)


def _packet(encoded: Encoded, decoding: int, duration: int, clip: Clip, video: Any) -> Any:
    packet = av.Packet(encoded.data)
    packet.pts, packet.dts, packet.duration = encoded.time, decoding, duration
    packet.time_base = clip.time_base
    packet.is_keyframe = encoded.is_key
    packet.stream = video
    return packet


def _copied_packets(source: Any, carried: list[Any], streams: dict[int, Any]) -> Iterator[Any]:
    if not carried:
        return
    for packet in source.demux(*carried):
        copy = streams[packet.stream.index]
        if (packet.dts is None and packet.pts is None) or _is_pause(packet, copy):
            continue
        packet.stream = copy
        yield packet


def _is_pause(packet: Any, copy: Any) -> bool:
    """Return whether a packet is a QuickTime text without words: the writer makes its own."""
    boxed = copy.type == "subtitle" and copy.container.format.name in _QUICKTIME
    return boxed and bytes(packet) == b"\0\0"


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
