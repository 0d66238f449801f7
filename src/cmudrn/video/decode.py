"""What a video file holds, and its frames one after another."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av

from cmudrn.errors import FileError
from cmudrn.files import NotRegularError, check_regular
from cmudrn.image import Pixels
from cmudrn.video.access import file_options
from cmudrn.video.colour import Colours, colours_of, to_pixels
from cmudrn.video.cut_files import find_cut
from cmudrn.video.hdr import UNKNOWN, Mastering, mastering_of
from cmudrn.video.limits import USUAL_LIMITS, ClipLimits
from cmudrn.video.timeline import Timeline, may_jump


class VideoFileError(FileError):
    """A file that cannot be read as video, or not to its end."""


@dataclass(frozen=True)
class Clip:
    """What a video file says about its pictures.

    Attributes:
        path: the file.
        stream: index of the video stream among all streams.
        codec: FFmpeg's name of its codec.
        width: of a stored frame, pixels.
        height: of a stored frame, pixels.
        pixel_format: FFmpeg's name of how its pixels are stored.
        time_base: the unit of all times, seconds.
        rate: frames a second on average.
        frames: how many frames there are, as the file says; 0 is unknown.
        colours: matrix, range, primaries and transfer.
        aspect: width of a stored pixel over its height.
        rotation: nine numbers of the display matrix, or None.
        interlaced: whether the first frame is made of two fields.
        alpha: whether it has transparency.
        side_data: FFmpeg's names of what the first frame carries besides its pixels.
        mastering: what the first frame says of the display it was mastered on.
    """

    path: Path
    stream: int
    codec: str
    width: int
    height: int
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    frames: int
    colours: Colours
    aspect: Fraction
    rotation: tuple[int, ...] | None
    interlaced: bool
    alpha: bool
    side_data: frozenset[str] = frozenset()
    mastering: Mastering = UNKNOWN


@dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        picture: FFmpeg's frame as it was decoded.
        pixels: (H, W, 3) RGB; uint8, or uint16 where the clip has more than 8 bits.
        time: when it is shown, in the clip's time base; always after the frame before.
        duration: in the clip's time base; 0 is unknown.
    """

    picture: Any
    pixels: Pixels
    time: int
    duration: int


_PROBE = {"probesize": str(20 << 20), "analyzeduration": "20000000"}
"""Bytes and microseconds to look for streams in, four times the usual: sound may begin late."""


_ORDERED_PACKETS = 64
"""Packets that are looked at to learn whether times belong to packets or to frames."""


@contextmanager
def open_clip(path: Path, limits: ClipLimits = USUAL_LIMITS) -> Iterator[Any]:
    """Yield FFmpeg's container of a file; its errors become sentences.

    Raises:
        VideoFileError: the file cannot be read, or is no video.
    """
    try:
        # Names are paths here, never addresses: FFmpeg would fetch "http:..." from the net.
        with _open(path, limits) as container:
            yield container
    except (av.FFmpegError, NotRegularError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoFileError(
            f"{path} is not a video that can be read: {reason}{_cut_of(path)}.", path=path
        ) from error


def _cut_of(path: Path) -> str:
    try:
        cut = find_cut(path)
    except (OSError, ValueError):  # told by what could not be opened
        return ""
    return f"; it is {cut}" if cut else ""


def _open(path: Path, limits: ClipLimits) -> Any:
    bound = {"max_pixels": str(limits.max_pixels)}  # also while FFmpeg looks what there is
    try:
        check_regular(path)  # FFmpeg would wait for a pipe's writer
        return av.open(
            f"file:{path}", metadata_errors="replace", options=_PROBE | file_options() | bound
        )
    except av.error.ArgumentError as error:
        raise VideoFileError(
            f"{path} is not a video that can be read: it is of another kind, "
            "or a list that names other files.",
            path=path,
        ) from error


def is_video(path: Path) -> bool:
    """Return whether a file's content is video, whatever its name says; animated images are."""
    try:
        with open_clip(path) as container:
            main_stream(container, path)
    except (VideoFileError, OSError):
        return False
    return True


def probe(path: Path, limits: ClipLimits = USUAL_LIMITS) -> Clip:
    """Return what a video file says about its frames.

    Raises:
        VideoFileError: the file cannot be read, or holds no video.
        LimitExceededError: its frames are too large, or it is too long.
    """
    with open_clip(path, limits) as container:
        stream = main_stream(container, path)
        _bound(stream, path, limits)
        limits.check_length(path, (container.duration or 0) / av.time_base)
        first = next(decode_all(container, stream), None)
        if first is None:
            reason = f"{path} holds no frame that can be decoded{_cut_of(path)}."
            raise VideoFileError(reason, path=path)
        limits.check_frame(path, first.width, first.height)
        rate = _rate(stream)
        return Clip(
            path=path,
            stream=stream.index,
            codec=stream.codec_context.codec.canonical_name,
            width=first.width,
            height=first.height,
            pixel_format=first.format.name,
            time_base=stream.time_base,
            rate=rate,
            frames=stream.frames or _guess_frames(container, stream, rate),
            colours=colours_of(first),
            aspect=stream.sample_aspect_ratio or Fraction(1),
            rotation=_rotation(first),
            interlaced=first.interlaced_frame,
            alpha=_has_alpha(stream, first),
            side_data=side_data_of(first),
            mastering=mastering_of(first),
        )


def _rate(stream: Any) -> Fraction:
    """Return frames a second, where a file says it within reason; else 25."""
    most = min(Fraction(1000), 1 / stream.time_base)
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= most:
            return Fraction(rate)
    return Fraction(25)


def _bound(stream: Any, path: Path, limits: ClipLimits) -> None:
    """Keep the decoder from making room for larger frames than the limits allow."""
    context = stream.codec_context
    limits.check_frame(path, context.width, context.height)
    context.options = {"max_pixels": str(limits.max_pixels)}


def side_data_of(frame: Any) -> frozenset[str]:
    """Return FFmpeg's names of what a frame carries besides its pixels."""
    return frozenset(item.type.name for item in frame.side_data)


def main_stream(container: Any, path: Path) -> Any:
    """Return the stream to restore: the first that is no cover picture.

    Raises:
        VideoFileError: there is none.
    """
    for stream in container.streams.video:
        if not is_cover(stream) and stream.codec_context is not None:
            return stream
    raise VideoFileError(f"{path} holds no video{_cut_of(path)}.", path=path)


def is_cover(stream: Any) -> bool:
    """Return whether a video stream is a single attached picture."""
    still: bool = bool(stream.disposition & av.stream.Disposition.attached_pic)
    return still


class FrameReader:
    """The frames of a clip, one after another, at times that rise.

    Args:
        clip: from `probe`.
        limits: as for `probe`.

    Attributes:
        moved: frames whose time was missing, or not after the frame before, so far.
    """

    def __init__(self, clip: Clip, limits: ClipLimits = USUAL_LIMITS) -> None:
        self._clip, self._limits = clip, limits
        self._timeline = Timeline()
        self.moved = 0

    def read(self, skip: int = 0) -> Iterator[Frame]:
        """Yield the frames from number `skip` on; the skipped ones are decoded too.

        Raises:
            VideoFileError: the file is damaged, or its frames change their size.
            LimitExceededError: it is longer than the limit.
        """
        clip, first, last = self._clip, None, None
        usual = max(1, round(1 / (clip.rate * clip.time_base)))
        for number, picture in enumerate(self._decode()):
            if (picture.width, picture.height) != (clip.width, clip.height):
                raise VideoFileError(
                    f"{clip.path} changes its size from {clip.width}x{clip.height} to "
                    f"{picture.width}x{picture.height} at frame {number}; cut it there first.",
                    path=clip.path,
                )
            time = picture.pts
            if time is None or (last is not None and time <= last):
                # Without a time, frames follow each other at the usual distance.
                time = 0 if last is None else last + (usual if time is None else 1)
                self.moved += 1
            first, last = time if first is None else first, time
            self._limits.check_length(clip.path, float((time - first) * clip.time_base))
            if number >= skip:
                yield Frame(picture, to_pixels(picture, clip.colours), time, picture.duration or 0)

    def notes(self) -> list[str]:
        """Return what was changed of the times."""
        notes = []
        if jumps := self._timeline.jumps:
            places = "place" if jumps == 1 else "places"
            notes.append(f"The times jump in {jumps} {places}; they go on without a gap.")
        if self.moved:
            notes.append(f"{self.moved} frames had no time of their own, or one out of order.")
        return notes

    def _decode(self) -> Iterator[Any]:
        with open_clip(self._clip.path, self._limits) as container:
            stream = container.streams[self._clip.stream]
            _bound(stream, self._clip.path, self._limits)
            # Frames decoded at once are lost where one of them is damaged; their parts are not.
            stream.thread_type = "SLICE"
            if not may_jump(container):
                times = look_at_times(self._clip, self._limits)
                decode = _in_order if times.in_file_order else decode_all
                for picture in decode(container, stream):
                    if picture.pts is not None:
                        picture.pts -= times.late
                    yield picture
                return
            for packet in packets(container):  # all streams: the first to jump decides for all
                self._timeline.place(packet)
                if packet.stream.index == stream.index:
                    yield from decode_packet(packet)


def packets(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield the packets of streams, or of all, as far as they can be read; empty ones come last."""
    try:
        yield from container.demux(*streams)
    except av.InvalidDataError:
        for stream in streams or container.streams:
            last = av.Packet()
            last.stream = stream
            yield last


def decode_packet(packet: Any) -> list[Any]:
    """Return the frames that a packet completes: none where it is damaged."""
    try:
        return list(packet.decode())
    except (av.InvalidDataError, av.error.ExternalError, EOFError):
        return []


def decode_all(container: Any, stream: Any) -> Iterator[Any]:
    """Yield all frames of a stream that can be decoded."""
    for packet in packets(container, stream):
        yield from decode_packet(packet)


@dataclass(frozen=True)
class PacketTimes:
    """How the times of packets have to be read.

    Attributes:
        in_file_order: whether they rise from packet to packet although frames are shown in another
            order. AVI, WMV and MXF store one time for each packet, or none; what FFmpeg says of a
            frame that a codec reorders is then the time of another frame.
        late: by how much all frames of an AVI file come too late: FFmpeg adds the codec's delay.
    """

    in_file_order: bool = False
    late: int = 0


def look_at_times(clip: Clip, limits: ClipLimits) -> PacketTimes:
    """Return how the times of a clip's packets have to be read."""
    late, before, shown = 0, float("-inf"), None
    with open_clip(clip.path, limits) as container:
        stream = container.streams[clip.stream]
        _bound(stream, clip.path, limits)
        for number, packet in enumerate(islice(container.demux(stream), _ORDERED_PACKETS)):
            if not number and container.format.name == "avi":
                late = _delay(packet) or 0
            if not stream.codec_context.has_b_frames:
                break
            if container.format.name == "avi" and packet.size and late != _delay(packet):
                return PacketTimes(True)  # FFmpeg adds the delay to some of the times only
            if packet.size and (packet.pts is None or packet.pts <= before):
                break
            before = packet.pts if packet.size else before
            try:
                frames = packet.decode()
            except av.FFmpegError:
                break
            for frame in frames:
                if shown is not None and frame.pts is not None and frame.pts < shown:
                    return PacketTimes(True, 0 if container.format.name == "avi" else late)
                shown = frame.pts
    return PacketTimes(False, late)


def _delay(packet: Any) -> int | None:
    return None if None in (packet.pts, packet.dts) else packet.pts - packet.dts


def _in_order(container: Any, stream: Any) -> Iterator[Any]:
    """Yield frames with the times of packets, in the order of the file."""
    times: deque[tuple[int, int]] = deque()  # said by the container, and by FFmpeg
    for packet in packets(container, stream):
        time = packet.dts if container.format.name == "avi" else packet.pts
        if packet.size and time is not None:
            times.append((time, time if packet.pts is None else packet.pts))
        for frame in decode_packet(packet):
            # After frames that could not be decoded, a key frame has its own time again.
            while frame.key_frame and times and times[0][1] < (frame.pts or 0):
                times.popleft()
            frame.pts = times.popleft()[0] if times else None
            yield frame


def _guess_frames(container: Any, stream: Any, rate: Fraction) -> int:
    if stream.duration:
        return int(stream.duration * stream.time_base * rate + Fraction(1, 2))
    return int(container.duration * rate / av.time_base) if container.duration else 0


def _has_alpha(stream: Any, frame: Any) -> bool:
    # VP8 and VP9 keep it beside their frames, where FFmpeg's own decoder does not look.
    beside = stream.metadata.get("alpha_mode") == "1"
    return beside or any(part.is_alpha for part in frame.format.components)


def _rotation(frame: Any) -> tuple[int, ...] | None:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("=9i", bytes(matrix)[:36]) if matrix is not None else None
