"""Raw frames on a pipe: the same number of bytes in and out for each frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError, InvalidSettingError, LimitExceededError
from cmudrn.image import MAX_PIXELS, Pixels
from cmudrn.restoration import FrameRestorer, Restorer, RestoreSettings
from cmudrn.restoration.restorer import PLAIN
from cmudrn.video.colour import UNTAGGED, add_headroom, to_frame, to_pixels
from cmudrn.video.prefetch import prefetch

_PACKED: dict[str, tuple[str, int]] = {
    "rgb24": ("u1", 3),
    "bgr24": ("u1", 3),
    "rgba": ("u1", 4),
    "gray": ("u1", 1),
    "rgb48le": ("<u2", 3),
    "gray16le": ("<u2", 1),
}
"""Layouts of whole pixels: type and number of their values."""

_SUBSAMPLED: dict[str, tuple[int, ...]] = {"yuv420p": (1, 1), "nv12": (2,)}
"""Layouts of brightness and then colours at half the size: values a place of each colour plane."""

LAYOUTS = (*_PACKED, *_SUBSAMPLED)
"""FFmpeg's names of the layouts that are read and written."""

_AT_ONCE = 1 << 20
"""Bytes to ask a pipe for."""


@dataclass(frozen=True)
class RawFormat:
    """How frames lie on a pipe, one after another without anything between.

    YUV is of limited range, by BT.601 below 720 lines and BT.709 from there on.

    Attributes:
        layout: one of `LAYOUTS`.
        width: pixels.
        height: pixels.

    Example:
        >>> RawFormat.parse("nv12", "640x480").size
        460800
    """

    layout: str
    width: int
    height: int

    @classmethod
    def parse(cls, layout: str, size: str) -> RawFormat:
        """Return a format from words such as "rgb24" and "640x480".

        Raises:
            InvalidSettingError: there is no such layout, or the size is none.
            LimitExceededError: the size is too large.
        """
        if layout not in LAYOUTS:
            raise InvalidSettingError(
                f"Raw frames are {', '.join(LAYOUTS)}, not {layout!r}.",
                setting="layout",
                value=layout,
            )
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
        if not found:
            raise InvalidSettingError(
                f"A size is written as 640x480, not {size!r}.", setting="size", value=size
            )
        width, height = int(found[1]), int(found[2])
        if width * height > MAX_PIXELS:
            raise LimitExceededError(
                f"Frames of {size} have {width * height:,} pixels, "
                f"more than the limit of {MAX_PIXELS:,}.",
                limit_name="max_pixels",
                limit=MAX_PIXELS,
                value=width * height,
            )
        return cls(layout, width, height)

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return sum(rows * columns for rows, columns in self._planes())

    def decode(self, data: bytes | bytearray) -> Pixels:
        """Return a frame as (H, W, 3) RGB or (H, W) grey, uint8 or uint16, without alpha."""
        if self.layout in _SUBSAMPLED:
            return to_pixels(self._to_frame(data), UNTAGGED)
        values = self._values(data)
        pixels = values.astype(values.dtype.newbyteorder("="))
        if self.layout == "gray" or self.layout == "gray16le":
            return pixels[..., 0]
        rgb = pixels[..., ::-1] if self.layout == "bgr24" else pixels[..., :3]
        return np.ascontiguousarray(rgb)

    def encode(self, pixels: Pixels, source: bytes | bytearray) -> bytes:
        """Return what `decode` reads.

        Args:
            pixels: as `decode` returns them.
            source: the frame that they were made of; alpha, and brightness beyond black and white,
                are taken from it.
        """
        if self.layout in _SUBSAMPLED:
            frame = to_frame(pixels, self.layout, UNTAGGED)
            return self._to_bytes(add_headroom(frame, self._to_frame(source)))
        if self.layout == "rgba":
            pixels = np.dstack([pixels, self._values(source)[..., 3]])
        elif self.layout == "bgr24":
            pixels = pixels[..., ::-1]
        return pixels.astype(_PACKED[self.layout][0]).tobytes()

    def _values(self, data: bytes | bytearray) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Return a view of packed values, (H, W, values a pixel)."""
        dtype, channels = _PACKED[self.layout]
        values: NDArray[np.uint8] | NDArray[np.uint16] = np.frombuffer(data, dtype)
        return values.reshape(self.height, self.width, channels)

    def _planes(self) -> list[tuple[int, int]]:
        """Return (rows, bytes a row) of each plane."""
        if self.layout in _PACKED:
            dtype, channels = _PACKED[self.layout]
            return [(self.height, self.width * channels * np.dtype(dtype).itemsize)]
        rows, columns = (self.height + 1) // 2, (self.width + 1) // 2
        colours = [(rows, columns * values) for values in _SUBSAMPLED[self.layout]]
        return [(self.height, self.width), *colours]

    def _to_frame(self, data: bytes | bytearray) -> av.VideoFrame:
        frame = av.VideoFrame(self.width, self.height, self.layout)
        start = 0
        for plane, (rows, columns) in zip(frame.planes, self._planes(), strict=True):
            values = np.frombuffer(data, np.uint8, rows * columns, start)
            _rows_of(plane)[:rows, :columns] = values.reshape(rows, columns)
            start += rows * columns
        return frame

    def _to_bytes(self, frame: av.VideoFrame) -> bytes:
        planes = zip(frame.planes, self._planes(), strict=True)
        return b"".join(
            _rows_of(plane)[:rows, :columns].tobytes() for plane, (rows, columns) in planes
        )


def _rows_of(plane: av.VideoPlane) -> NDArray[np.uint8]:
    """Return a view of a plane's rows, padding included."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def restore_raw(
    source: BinaryIO,
    target: BinaryIO,
    form: RawFormat,
    restorer: Restorer,
    settings: RestoreSettings = PLAIN,
    *,
    temporal: bool = True,
) -> int:
    """Restore frames from one pipe to another until the first ends; return how many.

    Each frame is written as soon as it is done. Layers and scores are not written.

    Args:
        source: where frames come from.
        target: where they go.
        form: their layout and size.
        restorer: the model and how it is run.
        settings: for every frame.
        temporal: fuse each frame with the four before it, where they show the same.

    Raises:
        CmudrnError: the input cannot be read or ends inside a frame, the output cannot be written,
            or there is not enough memory for a frame.
    """
    try:
        return _restore_raw(source, target, form, restorer, settings, temporal)
    except MemoryError:
        raise CmudrnError(
            f"There is not enough memory for frames of {form.width}x{form.height}."
        ) from None


def _restore_raw(
    source: BinaryIO,
    target: BinaryIO,
    form: RawFormat,
    restorer: Restorer,
    settings: RestoreSettings,
    temporal: bool,
) -> int:
    count = 0
    frame_restorer = FrameRestorer(restorer, settings, lookahead=0 if temporal else None)
    with closing(prefetch(_read(source, form), waiting=2)) as frames:
        for data in frames:
            (frame,) = frame_restorer.put(form.decode(data))
            done = frame.image
            unchanged = done.passed or not settings.strength
            _write(target, data if unchanged else form.encode(done.pixels, data))
            count += 1
    return count


def _write(target: BinaryIO, data: bytes | bytearray) -> None:
    try:
        target.write(data)
        target.flush()
    except OSError as error:
        # Else what waits in its buffer fails once more, with a traceback, when Python ends.
        with suppress(OSError):
            target.close()
        if isinstance(error, BrokenPipeError):
            raise CmudrnError("Nobody reads the frames any more.") from None
        raise CmudrnError(f"Cannot write the frames: {error.strerror}.") from error


def _read(source: BinaryIO, form: RawFormat) -> Iterator[bytearray]:
    while data := _read_fully(source, form.size):
        if len(data) < form.size:
            raise CmudrnError(
                f"The input ended inside a frame: {len(data)} of {form.size} bytes came."
            )
        yield data


def _read_fully(source: BinaryIO, size: int) -> bytearray:
    data = bytearray()
    try:
        # A pipe reserves what it is asked for before anything came.
        while len(data) < size and (more := source.read(min(size - len(data), _AT_ONCE))):
            data += more
    except OSError as error:
        raise CmudrnError(f"Cannot read the frames: {error.strerror}.") from error
    return data
