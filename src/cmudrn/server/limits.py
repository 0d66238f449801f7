"""What one request, one client, and all of them together may take."""

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
        pixels: of one picture, told from its header before anything is decoded. Up to 12 bytes a
            pixel are needed, and with alpha or more than 8 bits there may be fewer pixels.
        layer_pixels: of one picture whose layers are asked for; they take 35 bytes a pixel.
        webp_pixels: of one picture that is written as WebP or AVIF; they take some 50 bytes a
            pixel.
        workers: worker processes, that is pictures restored at the same time.
        waiting: further requests that wait for a worker; beyond them the answer is 503.
        seconds: from the first byte of a picture to the first byte of its answer.
        upload_seconds: for a request's body to arrive.
        worker_bytes: memory of one worker process, where the system tells (Linux).
        memory_bytes: memory for all pictures at work and all answers that their clients have not
            read yet; a picture that needs more than there is waits, and one that needs more than
            all of it has it alone.
        connections: open connections of all clients; lowered where the system allows fewer files.
        client_connections: open connections of one client address.
        header_seconds: for a request's header to arrive, and for a connection to stay unused.
        stall_seconds: how long a client may send or read more slowly than `min_rate`.
        min_rate: bytes a second that a client has to send or read.
    """

    bytes: int = 64 << 20
    pixels: int = 25_000_000
    layer_pixels: int = 12_500_000
    webp_pixels: int = 8_000_000
    workers: int = min(2, available_cores())
    waiting: int = 8
    seconds: float = 120.0
    upload_seconds: float = 60.0
    worker_bytes: int = 1 << 30
    memory_bytes: int = 256 << 20
    connections: int = 256
    client_connections: int = 64
    header_seconds: float = 10.0
    stall_seconds: float = 5.0
    min_rate: int = 16 << 10

    @property
    def places(self) -> int:
        """How many whole pictures are held at once, waiting, at work or being answered."""
        return self.workers + self.waiting

    @property
    def upload_bytes(self) -> int:
        """Memory for all bodies that are arriving or wait for a worker."""
        return 2 * self.bytes

    @property
    def engine_threads(self) -> int:
        """Processor threads of each worker."""
        return max(1, available_cores() // self.workers)
