"""Weather removed by time, before the network: a falling flake is gone in the next frame.

A prototype, off by default (`ClipSettings.temporal`). Where the scene stands still, three of five
frames show the same background: the second and third lowest values agree, and their mean replaces
the pixel. Rain and snow are brighter than what they cover, so low order statistics pass over them.
The current frame stays where those values disagree (something moves, or weather covers most frames)
and where the difference is large in area (a bright object that passes by is no flake). The network
restores the fused frame.

The window looks at degraded frames only, so a run that was stopped resumes with the same bytes. Not
done yet: alignment of a camera that moves, a causal window for streams, one of low light where
weather is darker than the background.

Measured by `benchmarks/temporal_fusion.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Pixels
from cmudrn.video.decode import Frame

RADIUS = 2
"""Frames before and after the current one that are looked at."""

AGREEMENT = 10 / 255
"""Difference of two low order statistics that noise and compression make, of the full range."""

VISIBLE = 12 / 255
"""Change that counts for the area of an object, of the full range."""

OBJECT_SIDE, MARGIN = 7, 31
"""Sides of two squares, pixels: a change that fills the first is an object; the second is kept."""


def fuse_frames(frames: Iterable[Frame], skip: int = 0) -> Iterator[Frame]:
    """Yield frames with the weather of still places removed; the first `skip` are context only.

    At both ends of a clip the nearest five frames are used; a shorter clip is left as it is.

    Args:
        frames: of a clip, in order.
        skip: how many of them are not yielded, but may stand in the window of later ones.
    """
    window: deque[Frame] = deque(maxlen=2 * RADIUS + 1)
    place = 0  # of the next frame to yield, in the clip
    count = 0
    for frame in frames:
        window.append(frame)
        count += 1
        if len(window) == window.maxlen:
            while place <= count - 1 - RADIUS:
                if place >= skip:
                    yield _fused(window, place - (count - len(window)))
                place += 1
    while place < count:
        if place >= skip:
            yield _fused(window, place - (count - len(window)))
        place += 1


def _fused(window: deque[Frame], middle: int) -> Frame:
    current = window[middle]
    if len(window) < 2 * RADIUS + 1:
        return current
    return replace(current, pixels=fuse([frame.pixels for frame in window], current.pixels))


def fuse(window: list[Pixels], current: Pixels) -> Pixels:
    """Return the current frame with the weather of still places removed.

    Args:
        window: five frames of (H, W, 3) RGB, uint8 or uint16; the current one is among them.
        current: the frame to return.
    """
    full = float(np.iinfo(current.dtype).max)
    second, third = _low_statistics(window)
    agree = (third - second).max(axis=2) <= AGREEMENT * full  # third is never below second
    background = second + (third - second) // 2
    change = np.abs(current.astype(np.int32) - background).max(axis=2) > VISIBLE * full
    use = agree & ~_large(change)
    fused: Pixels = np.where(use[..., None], background, current)
    return fused


def _low_statistics(window: list[Pixels]) -> tuple[Pixels, Pixels]:
    """Return the second and third lowest of five values at each place, by a sorting network."""
    values = list(window)
    # Three passes of a bubble sort leave the three lowest in front.
    for front in range(3):
        for place in range(len(values) - 1, front, -1):
            low, high = values[place - 1], values[place]
            values[place - 1], values[place] = np.minimum(low, high), np.maximum(low, high)
    return values[1], values[2]


def _large(change: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the places near changes that fill a square: eroded by it, and dilated by more."""
    return _slide(_slide(change, np.logical_and, OBJECT_SIDE), np.logical_or, MARGIN)


def _slide(values: NDArray[np.bool_], combine: np.ufunc, side: int) -> NDArray[np.bool_]:
    """Return what `combine` makes of the square around each place."""
    reach = side // 2
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)])
        length = values.shape[axis]
        parts = (padded.take(range(n, n + length), axis) for n in range(side))
        total = next(parts)
        for part in parts:
            total = combine(total, part)
        values = total
    return values
