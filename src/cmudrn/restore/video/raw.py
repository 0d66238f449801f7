"""Raw frames on a pipe: the same number of bytes in and out for each frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import Pixels
from cmudrn.restore.restorer import Restorer
from cmudrn.restore.steady import SteadyVeil
from cmudrn.restore.video.ahead import ahead

_LAYOUTS: dict[str, tuple[str, int]] = {
    "rgb24": ("u1", 3),
    "bgr24": ("u1", 3),
    "gray": ("u1", 1),
    "rgb48le": ("<u2", 3),
    "gray16le": ("<u2", 1),
}


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
            CmudrnError: there is no such layout, or the size is none.
        """
        if layout not in _LAYOUTS:
            raise CmudrnError(f"Raw frames are {', '.join(_LAYOUTS)}, not {layout!r}.")
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
        if not found:
            raise CmudrnError(f"A size is written as 640x480, not {size!r}.")
        return cls(layout, int(found[1]), int(found[2]))

    @property
    def size(self) -> int:
        """Size of a frame."""
        dtype, channels = _LAYOUTS[self.layout]
        return self.width * self.height * channels * np.dtype(dtype).itemsize

    def decode(self, data: bytes) -> Pixels:
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
    source: BinaryIO, target: BinaryIO, form: RawFormat, restorer: Restorer, **settings: Any
) -> int:
    """Restore frames from one pipe to another until the first ends; return how many.

    Each frame is written as soon as it is done. Settings are those of a `Restorer` call.

    Raises:
        CmudrnError: the input ends inside a frame.
    """
    count, steady = 0, SteadyVeil()
    with closing(ahead(_read(source, form), waiting=2)) as frames:  # type: ignore[type-var]
        for data in frames:
            pixels = form.decode(data)
            lift = steady(restorer.judge(pixels))
            target.write(form.encode(restorer(pixels, lift=lift, **settings)))
            target.flush()
            count += 1
    return count


def _read(source: BinaryIO, form: RawFormat) -> Iterator[bytes]:
    while data := _read_fully(source, form.size):
        if len(data) < form.size:
            raise CmudrnError(
                f"The input ended inside a frame: {len(data)} of {form.size} bytes came."
            )
        yield data


def _read_fully(source: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
