"""Between the colours of a video and RGB, there and back without a shift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation

from cmudrn.image import Pixels
from cmudrn.video.hdr import PQ, from_pq, to_pq

# Without these, FFmpeg's conversion is off by a grey level and more; with them 8-bit brightness
# comes back exactly but for one pixel in hundreds.
EXACT = int(
    Interpolation.LANCZOS
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)

LIMITED, FULL = 1, 2
RGB, UNSPECIFIED = 0, 2
BT709, BT601 = 1, 5


@dataclass(frozen=True)
class Colours:
    """The four colour tags of a video by the numbers of ITU-T H.273; 2 is unspecified.

    Attributes:
        matrix: what turns RGB into brightness and colour differences.
        range: 1 limited (16 to 235), 2 full, 0 unspecified.
        primaries: which red, green and blue.
        transfer: from light to values.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int


UNTAGGED = Colours(UNSPECIFIED, 0, UNSPECIFIED, UNSPECIFIED)
"""Of frames that say nothing about it."""


def colours_of(frame: Any) -> Colours:
    """Return the colour tags of a decoded frame."""
    full = frame.format.name.startswith("yuvj")
    return Colours(
        int(frame.colorspace),
        FULL if full else int(frame.color_range),
        int(frame.color_primaries),
        int(frame.color_trc),
    )


def colours_as(colours: Colours, before: str, after: str, height: int) -> Colours:
    """Return the tags of a clip whose pixels are stored in another way than they were.

    Args:
        colours: of the clip.
        before: FFmpeg's name of how the clip's pixels are stored.
        after: the same of the result.
        height: of a frame, pixels: decides the matrix where no tag does.
    """
    if _is_rgb(after):
        return colours if _is_rgb(before) else replace(colours, matrix=RGB, range=FULL)
    if _is_rgb(before):  # limited range: there is no player that does not take it
        return replace(colours, matrix=_matrix(colours, height), range=LIMITED)
    if colours.matrix == RGB:  # a wrong tag: read as it says, brightness would be green
        return replace(colours, matrix=_matrix(colours, height))
    return colours


def _is_rgb(pixel_format: str) -> bool:
    form = av.VideoFormat(pixel_format)
    return bool(form.is_rgb or form.has_palette)


def to_pixels(frame: Any, colours: Colours) -> Pixels:
    """Return a frame as (H, W, 3) RGB: uint8, uint16 where it has more than 8 bits, float32 of PQ.

    PQ is given behind another curve, see `cmudrn.video.hdr.from_pq`.
    """
    deep = max(part.bits for part in frame.format.components) > 8
    # The name yuvj420p says full range a second time, and FFmpeg would apply it twice.
    pixels: Pixels = frame.reformat(
        format="rgb48le" if deep else "rgb24",
        src_colorspace=_matrix(colours, frame.height),
        src_color_range=colours.range or LIMITED,
        dst_color_range=FULL,
        interpolation=EXACT,
    ).to_ndarray()
    return from_pq(pixels) if deep and colours.transfer == PQ else pixels


def to_frame(pixels: Pixels, pixel_format: str, colours: Colours) -> Any:
    """Return (H, W, 3) RGB as of `to_pixels` as a frame with these tags."""
    if pixels.dtype == np.float32:
        pixels = to_pq(pixels)
    name = "rgb24" if pixels.dtype == np.uint8 else "rgb48le"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=name).reformat(
        format=pixel_format,
        dst_colorspace=_matrix(colours, pixels.shape[0]),
        src_color_range=FULL,
        dst_color_range=colours.range or LIMITED,
        interpolation=EXACT,
    )
    return tag(frame, colours)


def add_headroom(frame: Any, source: Any) -> Any:
    """Return a frame with what its source has above white and below black in limited range.

    Camcorders record highlights up to 254 of limited range, whose white is 235. RGB ends at white;
    the rest goes around the network and is added where the restored frame is still white or black.

    Args:
        frame: restored, as it will be encoded.
        source: FFmpeg's frame as it was decoded; stored in another way, nothing is added.
    """
    if source.format.name != frame.format.name or frame.format.is_rgb or is_full(frame):
        return frame
    if is_full(source):
        return frame
    bits = frame.format.components[0].bits
    if bits not in (8, 9, 10, 12, 14, 16):
        return frame
    black, white = 16 << (bits - 8), 235 << (bits - 8)
    old = luma(source)
    if old is None or (old.min() >= black and old.max() <= white):
        return frame
    excess = old.astype(np.int32) - np.clip(old, black, white)
    new = luma(frame)
    if new is None:
        return frame
    # Whole where the frame ends where the source does, nothing from a distance of 16 of 8 bits on.
    distance = np.abs(new.astype(np.float32) - np.clip(old, black, white)) / (16 << (bits - 8))
    added = np.rint(excess * np.clip(1 - distance, 0, 1)).astype(np.int32)
    highest = (1 << bits) - 1
    frame.make_writable()
    luma(frame)[...] = np.clip(new.astype(np.int32) + added, 0, highest).astype(new.dtype)
    return frame


def is_full(frame: Any) -> bool:
    """Return whether a frame's values run over the full range."""
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == FULL


def luma(frame: Any) -> Any:
    """Return a view of the brightness of a planar frame, (H, W); None where it is not planar."""
    component = frame.format.components[0]
    if not (frame.format.is_planar and component.is_luma) or frame.format.is_big_endian:
        return None
    plane = frame.planes[0]
    dtype = np.dtype("u1" if component.bits <= 8 else "<u2")
    rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return rows[: frame.height, : frame.width]


def tag(frame: Any, colours: Colours) -> Any:
    """Return the frame with these tags written on it."""
    frame.colorspace, frame.color_range = colours.matrix, colours.range
    frame.color_primaries, frame.color_trc = colours.primaries, colours.transfer
    return frame


def _matrix(colours: Colours, height: int) -> int:
    """Return the matrix to compute with: untagged, small pictures are BT.601, large ones 709."""
    if colours.matrix in (BT709, 4, 7, 9):
        return colours.matrix
    if colours.matrix == 10:  # BT.2020 of constant luminance: FFmpeg has the other only
        return 9
    if colours.matrix in (BT601, 6):
        return BT601
    return BT709 if height >= 720 else BT601
