"""Raw frames on a pipe: the same number of bytes in and out for each frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import MAX_PIXELS, Pixels
from cmudrn.restoration import Restorer, RestoreSettings, Sequence, restore_image
from cmudrn.restoration.restorer import PLAIN
from cmudrn.video.prefetch import prefetch

_LAYOUTS: dict[str, tuple[str, int]] = {
    "rgb24": ("u1", 3),
    "bgr24": ("u1", 3),
    "gray": ("u1", 1),
    "rgb48le": ("<u2", 3),
    "gray16le": ("<u2", 1),
}

_AT_ONCE = 1 << 20
"""Bytes to ask a pipe for."""


@dataclass(frozen=True)
class RawFormat:
    """How frames lie on a pipe, one after another without anything between.

    Attributes:
        layout: FFmpeg's name: rgb24, bgr24, gray, rgb48le or gray16le.
        width: pixels.
        height: pixels.
    """

    layout: str
    width: int
    height: int

    @classmethod
    def parse(cls, layout: str, size: str) -> RawFormat:
        """Return a format from words such as "rgb24" and "640x480".

        Raises:
            CmudrnError: there is no such layout, the size is none, or it is too large.
        """
        if layout not in _LAYOUTS:
            raise CmudrnError(f"Raw frames are {', '.join(_LAYOUTS)}, not {layout!r}.")
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
        if not found:
            raise CmudrnError(f"A size is written as 640x480, not {size!r}.")
        width, height = int(found[1]), int(found[2])
        if width * height > MAX_PIXELS:
            raise CmudrnError(
                f"Frames of {size} have {width * height:,} pixels, "
                f"more than the limit of {MAX_PIXELS:,}."
            )
        return cls(layout, width, height)

    @property
    def size(self) -> int:
        """Size of a frame."""
        dtype, channels = _LAYOUTS[self.layout]
        return self.width * self.height * channels * np.dtype(dtype).itemsize

    def decode(self, data: bytes | bytearray) -> Pixels:
        """Return a frame as (H, W, 3) RGB or (H, W) grey, uint8 or uint16."""
        dtype, channels = _LAYOUTS[self.layout]
        shape = (self.height, self.width) + ((3,) if channels == 3 else ())
        pixels = np.frombuffer(data, dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder("="))
        return np.ascontiguousarray(pixels[..., ::-1]) if self.layout == "bgr24" else pixels

    def encode(self, pixels: Pixels) -> bytes:
        """Return what `decode` reads."""
        dtype, _ = _LAYOUTS[self.layout]
        turned = pixels[..., ::-1] if self.layout == "bgr24" else pixels
        return turned.astype(dtype).tobytes()


def restore_raw(
    source: BinaryIO,
    target: BinaryIO,
    form: RawFormat,
    restorer: Restorer,
    settings: RestoreSettings = PLAIN,
) -> int:
    """Restore frames from one pipe to another until the first ends; return how many.

    Each frame is written as soon as it is done. Layers and scores are not written.

    Raises:
        CmudrnError: the input cannot be read or ends inside a frame, the output cannot be written,
            or there is not enough memory for a frame.
    """
    try:
        return _restore_raw(source, target, form, restorer, settings)
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
) -> int:
    count, sequence = 0, Sequence()
    with closing(prefetch(_read(source, form), waiting=2)) as frames:
        for data in frames:
            done = restore_image(restorer, form.decode(data), settings, sequence=sequence)
            _write(target, form.encode(done.pixels))
            count += 1
    return count


def _write(target: BinaryIO, data: bytes) -> None:
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
