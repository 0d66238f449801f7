"""A recording of the restored frames of a stream."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from cmudrn.errors import CmudrnError, TargetError
from cmudrn.files import check_target
from cmudrn.image import Pixels, from_float, to_rgb
from cmudrn.live.sources import Arrival
from cmudrn.video.colour import colours_of, to_frame


class Recorder:
    """Restored frames as a Matroska file, each at the time it came; usable even if cut off.

    Args:
        path: the file, which must not exist.
        overwrite: it may.

    Raises:
        CmudrnError: it cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.suffix.lower() != ".mkv":
            raise TargetError(f"A recording is a .mkv file, not {path}.", path=path)
        check_target(None, path, overwrite)
        self._path = path
        self._output: Any = None
        self._stream: Any = None
        self._first_s = 0.0
        self._last = -1

    def add(self, arrival: Arrival, pixels: Pixels) -> None:
        """Write a frame.

        Args:
            arrival: what came; its time becomes the frame's.
            pixels: (H, W, 3) or (H, W), the restored frame.

        Raises:
            CmudrnError: its size differs from the first's, or the file cannot be written.
        """
        pixels = to_rgb(pixels)
        if pixels.dtype == np.float32:
            pixels = from_float(pixels, np.uint16)
        height, width = pixels.shape[0] & ~1, pixels.shape[1] & ~1
        try:
            if self._output is None:
                self._open(width, height)
                self._first_s = arrival.arrived_s
            if (self._stream.width, self._stream.height) != (width, height):
                raise CmudrnError(f"The source changed its size; {self._path} ends here.")
            self._last = max(self._last + 1, round(1000 * (arrival.arrived_s - self._first_s)))
            colours = colours_of(av.VideoFrame(width, height, "yuv420p"))
            frame = to_frame(pixels[:height, :width], "yuv420p", colours)
            frame.pts, frame.time_base = self._last, Fraction(1, 1000)
            self._output.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise TargetError(
                f"Cannot write {self._path}: {error.strerror}.", path=self._path
            ) from error

    def close(self) -> None:
        """Finish the file; one that got no frame is not made."""
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            self._output.close()

    def _open(self, width: int, height: int) -> None:
        self._output = av.open(f"file:{os.fspath(self._path)}", "w", format="matroska")
        self._stream = self._output.add_stream("libx264", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 1000)
        self._stream.codec_context.options = {
            "crf": "18", "preset": "veryfast", "tune": "zerolatency"
        }  # fmt: skip
