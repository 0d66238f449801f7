"""What a clip may ask of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cmudrn.errors import LimitExceededError

MAX_FRAME_PIXELS = 8192 * 4320
"""Larger frames are refused by default: a few dozen of them are in memory at once."""

BYTES_PER_PIXEL = 8
"""Of a frame and its restoration, 16 bit a channel at most, as they wait."""
MIN_FRAMES_IN_MEMORY = 16
"""Decoder, network and encoder hold so many at least."""
WINDOW_FRAMES = 26
"""Fusion over time holds so many more: nine frames raw and restored, and eight of them merged."""


@dataclass(frozen=True)
class ClipLimits:
    """What a clip may ask of this machine.

    Attributes:
        max_pixels: of a frame.
        max_seconds: of the clip.
        max_memory: bytes for the frames that are in memory at once, decoder and encoder included;
            an estimate.
    """

    max_pixels: int = MAX_FRAME_PIXELS
    max_seconds: float = 24 * 3600.0
    max_memory: int = 6 << 30

    def check_frame(self, path: Path, width: int, height: int) -> None:
        """Refuse frames that are too large.

        Raises:
            LimitExceededError: they are.
        """
        pixels = width * height
        if not pixels:  # what a decoder says that was told the limit
            raise LimitExceededError(
                f"{path} has frames of an unknown size, or of more than the limit of "
                f"{self.max_pixels:,} pixels.",
                limit_name="max_pixels", limit=self.max_pixels, path=path,
            )  # fmt: skip
        if pixels > self.max_pixels:
            raise LimitExceededError(
                f"{path} has frames of {width}x{height} = {pixels:,} pixels, "
                f"more than the limit of {self.max_pixels:,}.",
                limit_name="max_pixels", limit=self.max_pixels, value=pixels, path=path,
            )  # fmt: skip
        memory = pixels * BYTES_PER_PIXEL * MIN_FRAMES_IN_MEMORY
        if memory > self.max_memory:
            raise LimitExceededError(
                f"{path} has frames of {width}x{height}; they need about {memory >> 20:,} MiB, "
                f"more than the limit of {self.max_memory >> 20:,}.",
                limit_name="max_memory", limit=self.max_memory, value=memory, path=path,
            )  # fmt: skip

    def check_length(self, path: Path, seconds: float) -> None:
        """Refuse a clip that is too long.

        Raises:
            LimitExceededError: it is.
        """
        if seconds > self.max_seconds:
            raise LimitExceededError(
                f"{path} is {seconds:,.0f} s long, more than the limit of {self.max_seconds:,.0f}.",
                limit_name="max_seconds",
                limit=int(self.max_seconds),
                value=int(seconds),
                path=path,
            )

    def holds_window(self, width: int, height: int) -> bool:
        """Return whether there is memory for the frames that fusion over time holds."""
        frames = MIN_FRAMES_IN_MEMORY + WINDOW_FRAMES
        return width * height * BYTES_PER_PIXEL * frames <= self.max_memory

    def prefetched(self, width: int, height: int) -> int:
        """Return how many frames may wait between two steps of the work: 1 to 4."""
        frames = self.max_memory // (width * height * BYTES_PER_PIXEL)
        held = MIN_FRAMES_IN_MEMORY + WINDOW_FRAMES * self.holds_window(width, height)
        return int(min(4, max(1, (frames - held) // 2)))


USUAL_LIMITS = ClipLimits()
