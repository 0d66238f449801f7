"""Restored frames encoded into segments that need no other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import TargetError
from cmudrn.image import Image, Pixels
from cmudrn.photos.restore_photo import encode_layer
from cmudrn.video.colour import add_headroom, colours_of, tag, to_frame
from cmudrn.video.decode import Clip, Frame
from cmudrn.video.encode import CODECS, Encoding
from cmudrn.video.segments import Encoded, Segment


@dataclass(frozen=True)
class FinishedFrame:
    """A frame of a clip and its restoration.

    Attributes:
        frame: as it was.
        pixels: restored; None where the gate left it as it was, or nothing was to be changed.
        residuals: task, and "fused" -> (H, W, 3) float32; empty unless asked for.
        score: rain, snow, clear and whether the gate passed it; NaN where no score was asked for.
        state: what a run that is resumed after this frame has to know.
    """

    frame: Frame
    pixels: Pixels | None
    residuals: Mapping[str, Image]
    score: NDArray[np.float64]
    state: NDArray[np.float64]


def encode_segment(
    finished: Iterator[FinishedFrame], encodings: Mapping[str, Encoding], clip: Clip
) -> Segment | None:
    """Return the next frames, encoded; None where there are none left.

    Raises:
        TargetError: the encoder refuses them.
    """
    encoders = {name: _SegmentEncoder(encoding, clip) for name, encoding in encodings.items()}
    scores, state = [], np.full(3, np.nan)
    for done in finished:
        scores.append(done.score)
        state = done.state
        for name, encoder in encoders.items():
            encoder.add(done, name)
    if not scores:
        return None
    streams = {name: encoder.finish() for name, encoder in encoders.items()}
    return Segment(streams, np.array(scores), state)


class _SegmentEncoder:
    """One result's frames of one segment."""

    def __init__(self, encoding: Encoding, clip: Clip) -> None:
        self._encoding, self._clip = encoding, clip
        self._encoder = encoding.open_encoder()
        self._numbered = CODECS[encoding.codec].fixed_rate
        self._frames: dict[int, Frame] = {}  # by the time that the encoder knows
        self._packets: list[Encoded] = []

    def add(self, done: FinishedFrame, name: str) -> None:
        with self._refusals():
            picture = _picture(done, name, self._encoding)
            known = len(self._frames) if self._numbered else done.frame.time
            self._frames[known] = done.frame
            picture.pts, picture.time_base = known, self._encoding.encoder_time_base
            self._take(self._encoder.encode(picture))

    def finish(self) -> list[Encoded]:
        with self._refusals():
            self._take(self._encoder.encode(None))
        return self._packets

    def _take(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            frame = self._frames[packet.pts]
            self._packets.append(
                Encoded(bytes(packet), frame.time, frame.duration, packet.is_keyframe)
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn what FFmpeg raises while it encodes into a sentence."""
        try:
            yield
        except av.FFmpegError as error:
            raise TargetError(
                f"{self._clip.path} cannot be encoded as {self._encoding.codec}: {error.strerror}.",
                path=self._clip.path,
            ) from error


def _picture(done: FinishedFrame, name: str, encoding: Encoding) -> Any:
    """Return the frame to encode for one result."""
    before, picture = done.frame.pixels, done.frame.picture
    if name != "restored":
        return to_frame(encode_layer(done.residuals[name]), encoding.pixel_format, encoding.colours)
    after = before if done.pixels is None else done.pixels
    if encoding.width != before.shape[1]:
        both = np.concatenate([before, after], axis=1)
        return to_frame(both, encoding.pixel_format, encoding.colours)
    if done.pixels is None and _is_stored_so(picture, encoding):
        return tag(picture, encoding.colours)  # never went through RGB
    return add_headroom(to_frame(after, encoding.pixel_format, encoding.colours), picture)


def _is_stored_so(picture: Any, encoding: Encoding) -> bool:
    same_range = colours_of(picture).range == encoding.colours.range
    # Restored frames are opaque; one with alpha among them would flicker.
    opaque = not any(part.is_alpha for part in picture.format.components)
    return opaque and same_range and picture.format.name == encoding.pixel_format
