"""Memory that the C library keeps for the next step of a training."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of malloc.h

_LARGEST_MMAP_THRESHOLD = 32 << 20
"""What glibc takes at most, bytes."""


def keep_memory() -> None:
    """Have freed memory stay with this process, where the C library is glibc; else do nothing.

    A step frees its feature maps, and the next one asks for the same again. By default glibc gives
    maps of some megabytes back to the system, which clears each page when it is asked for.
    """
    _set(_LARGEST_MMAP_THRESHOLD, 2**31 - 1, 64 << 20)


def give_back_memory() -> None:
    """Undo `keep_memory`: what glibc does by itself."""
    _set(128 << 10, 128 << 10, 128 << 10)


def _set(mmap_threshold: int, trim_threshold: int, top_pad: int) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, mmap_threshold)
    mallopt(_TRIM_THRESHOLD, trim_threshold)
    mallopt(_TOP_PAD, top_pad)
