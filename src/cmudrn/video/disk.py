"""How much of the disk a clip takes while it is restored."""

from __future__ import annotations

import shutil
from pathlib import Path

COPIES = 2
"""Segments and the result that is made of them are there at once, at the end."""
WORTH_TELLING = 1 << 30
"""Bytes that are told of although there is room."""


def disk_note(folder: Path, used: int, done: int, frames: int) -> str | None:
    """Return what to say of the disk before most of a clip is restored; None where it is little.

    Args:
        folder: where the result goes.
        used: bytes of the first segment.
        done: frames in it.
        frames: of the clip; 0 is unknown.
    """
    needed = COPIES * used * max(done, frames) // max(1, done)
    free = shutil.disk_usage(folder).free + used
    if needed < min(WORTH_TELLING, free / 2):
        return None
    sentence = f"About {needed / 1e9:.1f} GB of disk are used until the clip is finished"
    if needed <= free:
        return f"{sentence}; {free / 1e9:.1f} GB are free."
    return f"{sentence}, but only {free / 1e9:.1f} GB are free; a stopped run resumes."
