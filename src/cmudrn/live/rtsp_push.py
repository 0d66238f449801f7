"""The restored stream pushed to an RTSP server, such as that of a network video recorder."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np

from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.image import Pixels, from_float, to_rgb
from cmudrn.live.outputs import Tell
from cmudrn.live.sources import Arrival
from cmudrn.video.access import hide_password
from cmudrn.video.colour import colours_of, to_frame

RETRY_S = 5.0
"""Seconds until a server that refused, or was lost, is tried again."""
TIMEOUT_S = 10.0


class RtspPusher:
    """Sends frames as H.264 from a thread of its own; a slow or missing server delays nothing.

    Only the newest frame waits. A lost server is tried again.

    Args:
        address: rtsp://SERVER/PATH or rtsps://.
        tell: told of "PUSH" when frames arrive at the server, and "NOTE" when they do not.

    Raises:
        InvalidSettingError: the address is none of RTSP.
    """

    def __init__(self, address: str, tell: Tell) -> None:
        if not address.startswith(("rtsp://", "rtsps://")):
            raise InvalidSettingError(
                f"Frames are pushed to rtsp:// or rtsps://, not to {hide_password(address)}.",
                setting="push",
            )
        self._address, self._tell = address, tell
        self._changed = threading.Condition()
        self._waiting: tuple[Arrival, Pixels] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, arrival: Arrival, pixels: Pixels) -> None:
        """Send a restored frame, in the place of one that still waits.

        Args:
            arrival: what came; its time becomes the frame's.
            pixels: (H, W, 3) or (H, W).
        """
        with self._changed:
            self._waiting = (arrival, pixels)
            self._changed.notify_all()

    def close(self) -> None:
        """Stop sending."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=2)  # FFmpeg may wait for the net until its own timeout

    def _next(self) -> tuple[Arrival, Pixels] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            found, self._waiting = self._waiting, None
            return None if self._closed else found

    def _run(self) -> None:
        while (first := self._next()) is not None:
            try:
                self._send(first)
            except (av.FFmpegError, OSError, CmudrnError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self._tell("NOTE", f"{hide_password(self._address)}: {reason}.")
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RETRY_S)

    def _send(self, first: tuple[Arrival, Pixels]) -> None:
        """Send frames of one size until there are no more."""
        height, width = (side & ~1 for side in first[1].shape[:2])
        options = {"rtsp_transport": "tcp", "timeout": str(round(TIMEOUT_S * 1e6))}
        with av.open(self._address, "w", format="rtsp", options=options) as output:
            stream: Any = output.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 90_000)
            stream.codec_context.options = {
                "preset": "veryfast", "tune": "zerolatency", "crf": "20", "g": "50",
            }  # fmt: skip
            began, last = time.monotonic(), -1
            following: tuple[Arrival, Pixels] | None = first
            while following is not None:
                pixels = to_rgb(following[1])
                if (pixels.shape[0] & ~1, pixels.shape[1] & ~1) != (height, width):
                    return  # the next frame opens a stream of its own size
                if pixels.dtype == np.float32:
                    pixels = from_float(pixels, np.uint16)
                colours = colours_of(av.VideoFrame(width, height, "yuv420p"))
                frame = to_frame(pixels[:height, :width], "yuv420p", colours)
                last = max(last + 1, round(90_000 * (following[0].arrived_s - began)))
                frame.pts, frame.time_base = last, Fraction(1, 90_000)
                output.mux(stream.encode(frame))
                if following is first:
                    self._tell("PUSH", f"Frames reach {hide_password(self._address)}.")
                following = self._next()
