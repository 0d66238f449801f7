"""The memory of processes, as the system sees it."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path


def give_back_memory() -> None:
    """Give freed memory back to the system, where its C library keeps some (glibc)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def resident_bytes(process_id: int) -> int:
    """Return the memory of a process and of those that it started."""
    folder = Path("/proc", str(process_id))
    try:
        pages = int((folder / "statm").read_text(encoding="ascii").split()[1])
        lists = [path.read_text(encoding="ascii") for path in folder.glob("task/*/children")]
    except (OSError, IndexError):
        return 0
    children = [int(child) for text in lists for child in text.split()]
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident_bytes, children))
