"""What one request, and all of them together, may take."""

from __future__ import annotations

from dataclasses import dataclass

from cmudrn.engines.base import available_cores

MAX_DEPTH = 8
"""Largest stages or recursions of a request: deeper ones need too large a window."""


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the server's memory and answering times finite.

    Attributes:
        bytes: of one picture file.
        pixels: of one picture, told from its header before anything is decoded.
        layer_pixels: of one picture whose layers are asked for; they take 60 bytes a pixel.
        workers: pictures restored at the same time.
        waiting: further requests that wait for a worker; beyond them the answer is 503.
        seconds: from the arrival of a picture to the end of its restoration.
        upload_seconds: for a request's body to arrive.
    """

    bytes: int = 64 << 20
    pixels: int = 50_000_000
    layer_pixels: int = 16_000_000
    workers: int = min(2, available_cores())
    waiting: int = 8
    seconds: float = 120.0
    upload_seconds: float = 60.0

    @property
    def places(self) -> int:
        """How many requests with a picture are taken in at once."""
        return self.workers + self.waiting

    @property
    def engine_threads(self) -> int:
        """Processor threads of each worker."""
        return max(1, available_cores() // self.workers)
