"""How much of the disk a clip takes while it is restored."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmudrn.video.carry import Carried, is_cover_packet

COPIES = 2
"""Segments and the result that is made of them are there at once, at the end."""
SPARE = 1.15
"""What is told over what the first segments come to: later ones may be larger."""
WORTH_TELLING = 1 << 30
"""Bytes that are told of although there is room."""


@dataclass(frozen=True)
class CopiedBytes:
    """How large what is copied from a clip into the result is.

    Attributes:
        once: bytes of covers and attached files.
        along: bytes of the other streams as far as they were looked at.
    """

    once: int = 0
    along: int = 0


def measure_copied(source: Any, main: int, carried: Carried, end: float) -> CopiedBytes:
    """Return the bytes of copied streams from the beginning of a clip on.

    Args:
        source: FFmpeg's container of the clip, just opened; it is read from.
        main: index of the stream whose time counts.
        carried: what is copied.
        end: of what is looked at, in seconds after the first time of the main stream.
    """
    once, along = sum(len(data) for _, _, data in carried.attachments), 0
    if not carried.streams:
        return CopiedBytes(once)
    begin = None
    for packet in source.demux(*(source.streams[index] for index in (main, *carried.streams))):
        if packet.stream.index != main:
            once += packet.size if is_cover_packet(packet) else 0
            along += 0 if is_cover_packet(packet) else packet.size
        elif packet.dts is not None:
            now = float(packet.dts * packet.time_base)
            begin = now if begin is None else begin
            if now - begin > end:
                break
    return CopiedBytes(once, along)


def needed_bytes(used: int, done: int, frames: int, copied: CopiedBytes) -> int:
    """Return the bytes that a clip takes at most until it is finished.

    Args:
        used: bytes of the segments so far.
        done: frames in them.
        frames: of the clip; 0 is unknown.
        copied: what is copied beside as many frames as they have.
    """
    parts = max(done, frames) / max(1, done)
    return int((COPIES * used + copied.along) * parts) + copied.once


def disk_note(folder: Path, used: int, needed: int) -> str | None:
    """Return what to say of the disk before most of a clip is restored; None where it is little.

    Args:
        folder: where the result goes.
        used: bytes of the segments so far.
        needed: see `needed_bytes`.
    """
    free = shutil.disk_usage(folder).free + used
    if needed < min(WORTH_TELLING, free / 2):
        return None
    sentence = f"About {needed / 1e9:.1f} GB of disk are used until the clip is finished"
    if needed <= free:
        return f"{sentence}; {free / 1e9:.1f} GB are free."
    return f"{sentence}, but only {free / 1e9:.1f} GB are free; a stopped run resumes."
