"""What of a clip besides its main video goes into the result: streams, covers, chapters, tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import av

from cmudrn.video.decode import Clip, is_cover
from cmudrn.video.encode import QUICKTIME, container_format

_SEARCHED_PACKETS = 5000
"""How many packets are read to find the first one of each stream."""

_WITH_ATTACHMENTS = ("matroska",)

_MADE_BY_WRITERS = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_bytes",
    "number_of_frames", "bps", "handler_name", "vendor_id", "alpha_mode", "software",
    "service_name", "service_provider", "variant_bitrate", "filename", "mimetype",
}  # fmt: skip
"""Tags, in small letters, that a container writes about its own making."""


@dataclass(frozen=True)
class Carried:
    """What the result takes over from the clip.

    Attributes:
        streams: indices of the streams that are copied.
        attachments: (file name, media type, bytes) of covers and other attached files.
        notes: one sentence for each stream that is left out, or is video and not restored.
    """

    streams: tuple[int, ...] = ()
    attachments: tuple[tuple[str, str, bytes], ...] = ()
    notes: tuple[str, ...] = ()


def choose_carried(source: Any, clip: Clip, target: Path) -> Carried:
    """Return what a container takes of a clip, tried with the header and a packet of each stream.

    Args:
        source: FFmpeg's container of the clip, just opened; it is read from.
        clip: the same clip.
        target: the result; its suffix says which container it is.
    """
    others = [stream for stream in source.streams if stream.index != clip.stream]
    packets = _first_packets(source, others)
    streams, attachments, notes = [], [], []
    for stream in others:
        if _is_chapter_track(source, stream) or is_timecode(stream):
            continue  # chapters and time code are written anew
        if (attachment := _as_attachment(stream, packets, target)) is not None:
            attachments.append(attachment)
        elif stream.type != "attachment" and _is_taken(stream, packets.get(stream.index), target):
            streams.append(stream.index)
            if stream.type == "video" and not is_cover(stream):
                notes.append(f"Stream {stream.index} (video) was copied as it is.")
        else:
            kind = "cover" if stream.type == "video" and is_cover(stream) else stream.type
            notes.append(
                f"Stream {stream.index} ({kind}) was left out: {target.suffix} does not take it."
            )
    return Carried(tuple(streams), tuple(attachments), tuple(notes))


def add_copy(output: Any, stream: Any) -> Any:
    """Return a new stream of an output that takes another one's packets."""
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(plain_tags(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def copied_packets(packets: Iterator[Any], copies: Mapping[int, Any]) -> Iterator[Any]:
    """Yield the packets that belong to copied streams, made over to the copies.

    Args:
        packets: of the clip, in the order of the file.
        copies: stream's index -> its copy.
    """
    last: dict[int, int] = {}
    for packet in packets:
        copy = copies.get(packet.stream.index)
        if copy is None or not packet.size or _is_pause(packet, copy):
            continue
        if packet.dts is None and packet.pts is None:
            if not is_cover(packet.stream):
                continue
            packet.pts = packet.dts = 0  # a cover has no time
        if packet.dts is not None:  # after a jump, sound may overlap by a packet
            packet.dts = max(packet.dts, last.get(copy.index, packet.dts - 1) + 1)
            packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            last[copy.index] = packet.dts
        packet.stream = copy
        yield packet


def plain_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return tags without those that a container writes about its own making."""
    return {key: value for key, value in metadata.items() if key.lower() not in _MADE_BY_WRITERS}


def is_timecode(stream: Any) -> bool:
    """Return whether a stream is a time code track, which the writer makes from the tag."""
    return bool(stream.type == "data" and "timecode" in stream.metadata)


def missing_tags(source: Any, result: Any, pairs: Mapping[int, int]) -> list[str]:
    """Return a note for each kind of tag of a clip that is not in the result.

    Args:
        source: FFmpeg's container of the clip.
        result: the same of the finished file.
        pairs: stream's index in the clip -> in the result.
    """
    notes = []
    if lost := _lost(source.metadata, result.metadata):
        notes.append(f"The container does not keep the tags {_listed(lost)}.")
    for before, after in pairs.items():
        old = source.streams[before]
        if after >= len(result.streams):
            notes.append(f"Stream {before} ({old.type}) is not in the result.")
            continue
        new = result.streams[after]
        if lost := _lost(old.metadata, new.metadata):
            notes.append(f"Stream {before} ({old.type}) lost its tags {_listed(lost)}.")
        if gone := old.disposition & ~new.disposition & ~av.stream.Disposition.default:
            names = [flag.name for flag in type(gone) if flag & gone]
            notes.append(f"Stream {before} ({old.type}) lost its marks {_listed(names)}.")
    chapters = len(source.chapters()) - len(result.chapters())
    if chapters > 0:
        notes.append(f"The container does not keep {chapters} chapters.")
    return notes


def _lost(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    # Matroska writes names in capitals, and languages of three letters.
    found = {key.lower() for key in new}
    return sorted(
        key
        for key, value in plain_tags(old).items()
        if key.lower() not in found and (key.lower(), value) != ("language", "und")
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _first_packets(source: Any, streams: list[Any]) -> dict[int, Any]:
    """Return stream's index -> its first packet with content, where one comes early."""
    missing = {stream.index for stream in streams if stream.type != "attachment"}
    packets: dict[int, Any] = {}
    readable = [stream for stream in streams if stream.index in missing]
    if not readable:
        return packets
    for number, packet in enumerate(source.demux(*readable)):
        if packet.size and packet.stream.index in missing:
            packets[packet.stream.index] = packet
            missing.discard(packet.stream.index)
        if not missing or number > _SEARCHED_PACKETS:
            break
    return packets


def _as_attachment(
    stream: Any, packets: Mapping[int, Any], target: Path
) -> tuple[str, str, bytes] | None:
    """Return a cover or an attached file as the container attaches it; None where it does not."""
    if container_format(target) not in _WITH_ATTACHMENTS:
        return None
    if stream.type == "attachment":
        return stream.name or "attachment", stream.mimetype or "", bytes(stream.data)
    if not (stream.type == "video" and is_cover(stream) and stream.index in packets):
        return None
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    suffix = {"jpeg": "jpg"}.get(kind, kind)
    name = stream.metadata.get("filename") or f"cover.{suffix}"
    return name, stream.metadata.get("mimetype") or f"image/{kind}", bytes(packets[stream.index])


def _is_chapter_track(source: Any, stream: Any) -> bool:
    """Return whether a stream holds the chapters' titles once more, as QuickTime does."""
    hidden = stream.type == "data" and stream.discard == av.stream.Discard.all
    return bool(hidden and source.chapters())


def _is_taken(stream: Any, packet: Any, target: Path) -> bool:
    container = container_format(target)
    if container == "mov" and stream.type == "video" and is_cover(stream):
        return False  # it would be dropped silently
    if container == "mpegts" and stream.type == "subtitle":
        # It would take others too, as data that nobody reads.
        return stream.codec_context.name in ("dvbsub", "dvb_teletext", "libzvbi_teletextdec")
    try:
        with av.open(BytesIO(), "w", format=container) as trial:
            copy = add_copy(trial, stream)
            trial.start_encoding()
            if packet is not None and not is_cover_packet(packet):
                trial.mux_one(_duplicate(packet, copy))
    except (av.FFmpegError, ValueError):
        return False
    return True


def is_cover_packet(packet: Any) -> bool:
    """Return whether a packet is a cover picture."""
    return packet.stream.type == "video" and is_cover(packet.stream)


def _duplicate(packet: Any, copy: Any) -> Any:
    twin = av.Packet(bytes(packet))
    twin.time_base, twin.is_keyframe = packet.time_base, packet.is_keyframe
    start = packet.dts if packet.dts is not None else packet.pts
    twin.dts = twin.pts = start or 0
    twin.duration = packet.duration
    twin.stream = copy
    return twin


def _is_pause(packet: Any, copy: Any) -> bool:
    """Return whether a packet is a QuickTime text without words: the writer makes its own."""
    boxed = copy.type == "subtitle" and copy.container.format.name in QUICKTIME
    return boxed and bytes(packet) == b"\0\0"
