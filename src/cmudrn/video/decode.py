"""What a video file holds, and its frames one after another."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import Pixels
from cmudrn.video.colour import Colours, colours_of, to_pixels


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


@contextmanager
def open_clip(path: Path) -> Iterator[Any]:
    """Yield FFmpeg's container of a file; its errors become sentences.

    Raises:
        CmudrnError: the file cannot be read, or is no video.
    """
    try:
        # Names are paths here, never addresses: FFmpeg would fetch "http:..." from the net.
        with av.open(f"file:{path}", metadata_errors="replace", options=_PROBE) as container:
            yield container
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CmudrnError(f"{path} is not a video that can be read: {reason}.") from error


def probe(path: Path) -> Clip:
    """Return what a video file says about its pictures.

    Raises:
        CmudrnError: the file cannot be read, or holds no video.
    """
    with open_clip(path) as container:
        stream = main_stream(container, path)
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise CmudrnError(f"{path} holds no frame that can be decoded.")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
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
        )


def main_stream(container: Any, path: Path) -> Any:
    """Return the stream to restore: the first that is no cover picture.

    Raises:
        CmudrnError: there is none.
    """
    for stream in container.streams.video:
        if not is_cover(stream) and stream.codec_context is not None:
            return stream
    raise CmudrnError(f"{path} holds no video.")


def is_cover(stream: Any) -> bool:
    """Return whether a video stream is a single attached picture."""
    still: bool = bool(stream.disposition & av.stream.Disposition.attached_pic)
    return still


def read_frames(clip: Clip, skip: int = 0) -> Iterator[Frame]:
    """Yield a clip's frames from number `skip` on; the skipped ones are decoded too.

    Raises:
        CmudrnError: the file is damaged, or its pictures change their size.
    """
    usual = max(1, round(1 / (clip.rate * clip.time_base)))
    last: int | None = None
    with open_clip(clip.path) as container:
        stream = container.streams[clip.stream]
        stream.thread_type = "AUTO"
        for number, picture in enumerate(container.decode(stream)):
            if (picture.width, picture.height) != (clip.width, clip.height):
                raise CmudrnError(
                    f"{clip.path} changes its size from {clip.width}x{clip.height} to "
                    f"{picture.width}x{picture.height} at frame {number}; cut it there first."
                )
            time = picture.pts
            if time is None:
                time = 0 if last is None else last + usual
            last = time if last is None else max(time, last + 1)
            if number >= skip:
                yield Frame(picture, to_pixels(picture, clip.colours), last, picture.duration or 0)


def check_integrity(clip: Clip, frames: int) -> list[str]:
    """Return notes on what a clip promises and does not hold: FFmpeg skips it without a word.

    Args:
        clip: the clip.
        frames: how many frames of it were decoded.

    Raises:
        CmudrnError: the file cannot be read.
    """
    packets = damaged = end = 0
    with open_clip(clip.path) as container:
        stream = container.streams[clip.stream]
        # What an edit list cuts off is in the file, but not to be shown.
        said = sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries)
        seconds = _seconds(stream.metadata.get("DURATION", ""))
        for packet in container.demux(stream):
            if not packet.size:
                continue
            packets += not packet.is_discard
            damaged += packet.is_corrupt
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
    # Packets without a frame are nothing amiss where they may hold one field or nothing to show.
    in_pairs = clip.interlaced or clip.codec in ("vp8", "mpeg4")
    if packets < said or (frames < packets and not in_pairs):
        return [f"The file says {max(said, packets)} frames; {frames} could be decoded."]
    ends = float(end * clip.time_base)
    if seconds > ends + max(1.0, float(2 / clip.rate)):
        return [f"The file says {seconds:.1f} s of video; it ends after {ends:.1f} s."]
    return [f"The video is damaged in {damaged} of {packets} packets."] if damaged else []


def _seconds(text: str) -> float:
    """Return the seconds of Matroska's "00:01:02.500000000"; 0 where it is something else."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text.strip())
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else 0.0


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


def is_deep(pixels: Pixels) -> bool:
    """Return whether pixels have more than 8 bits."""
    return pixels.dtype != np.uint8
