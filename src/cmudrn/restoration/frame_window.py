"""The frames around one another in time, aligned with the one that is fused."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cmudrn.engines.native.frames import frame_kernels
from cmudrn.image import Pixels
from cmudrn.restoration.alignment import align, is_still
from cmudrn.restoration.motion import Map, Thumbnail, find_motion, make_thumbnail
from cmudrn.restoration.squares import SQUARE, Floats, Planes, square_means
from cmudrn.restoration.temporal_fusion import FRAMES, Aligned, fuse

LONGEST = 2 * FRAMES - 1
"""Frames of a window: where the camera stands still, the others are merged by twos."""

MAX_CHANGE = 8.0
"""Where a network changes more of a frame than this at the median, in 255ths, it takes away what is
in every frame, as dense rain or haze: raw values would bring it back, and are not taken."""


@dataclass(frozen=True)
class SeenFrame:
    """A frame of a sequence.

    Attributes:
        planes: (2C, H, W): raw and restored.
        means: `square_means` of them.
        thumbnail: of the restored frame.
        back: where its points lie in the frame before; None where that shows another scene, or
            there is none.
        merged: what this one and a later one were merged to, for the windows to come.
    """

    planes: Planes
    means: Floats
    thumbnail: Thumbnail
    back: Map | None
    merged: list[tuple[SeenFrame, Planes, Floats]] = field(default_factory=list, repr=False)


class FrameWindow:
    """The last nine frames of a sequence, each fused once enough later ones are there.

    Args:
        lookahead: later frames that a frame waits for.
    """

    def __init__(self, lookahead: int) -> None:
        self._lookahead = lookahead
        self._frames: deque[SeenFrame] = deque(maxlen=LONGEST)
        self._waiting = 0

    def takes(self, pixels: Pixels) -> bool:
        """Return whether a frame has the size and type of those before it."""
        if not self._frames:
            return True
        planes = self._frames[-1].planes
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        same = planes.shape == (2 * channels, *pixels.shape[:2])
        return same and planes.dtype == pixels.dtype

    def put(self, raw: Pixels, restored: Pixels) -> list[Pixels | None]:
        """Take the next frame and return what is finished, in order; see `fuse_frame`."""
        if not self.takes(raw):
            self._frames.clear()
        self._frames.append(see(raw, restored, self._frames[-1] if self._frames else None))
        self._waiting += 1
        return self._finish(self._lookahead)

    def flush(self) -> list[Pixels | None]:
        """Return the frames that wait, fused with those that are there."""
        return self._finish(0)

    def _finish(self, left: int) -> list[Pixels | None]:
        finished = []
        while self._waiting > left:
            current = len(self._frames) - self._waiting
            finished.append(fuse_frame(self._frames, current))
            self._waiting -= 1
        return finished


def see(raw: Pixels, restored: Pixels, before: SeenFrame | None) -> SeenFrame:
    """Return a frame as fusion needs it.

    Args:
        raw: (H, W, 3) or (H, W).
        restored: likewise.
        before: the frame before it, of the same size and type; or None.
    """
    planes = _planes(raw, restored)
    means = square_means(planes)
    thumbnail = make_thumbnail(means[1], factor=SQUARE)
    back = find_motion(thumbnail, before.thumbnail) if before else None
    return SeenFrame(planes, means, thumbnail, back)


def fuse_frame(frames: Sequence[SeenFrame], current: int) -> Pixels | None:
    """Return a frame fused with its neighbours, in the shape of the raw one.

    Args:
        frames: at most nine that follow each other.
        current: which of them.

    Returns:
        None where no other frame shows the same scene: its restoration is all there is.
    """
    windows = aligned(frames, current)
    if not windows:
        return None
    return _pixels(fuse(windows, takes_raw=shows_scene(frames[current])))


def shows_scene(frame: SeenFrame) -> bool:
    """Return whether a raw frame shows most of its scene as the restored one does."""
    raw, restored, _ = frame.means
    return bool(np.median(np.abs(raw - restored)) <= MAX_CHANGE)


def aligned(frames: Sequence[SeenFrame], current: int) -> list[Aligned]:
    """Return windows of five frames as they look from the current one, which is the first of them.

    They are of the nearest frames, and of all merged by twos where the camera stands still. There
    are none where all others are missing.
    """
    own = frames[current]
    maps = {n: m for n, m in enumerate(motions(frames, current)) if m is not None and n != current}
    if not maps:
        return []
    nearest = sorted(maps, key=lambda n: abs(n - current))[: FRAMES - 1]
    others = [_moved(frames[n], maps[n], own) for n in nearest]
    restored = own.planes[len(own.planes) // 2 :]
    missing = np.concatenate([restored, restored]), own.means[[1, 1, 2]]
    windows = [_window(own, [*others, *[missing] * (FRAMES - 1 - len(others))], merged=False)]
    height, width = own.planes.shape[1:]
    still = [n for n, motion in maps.items() if is_still(motion, height, width)]
    if len(still) >= FRAMES:
        groups = [[frames[n] for n in part] for part in np.array_split(still, FRAMES - 1)]
        windows.append(_window(own, [_merged(group) for group in groups], merged=True))
    return windows


def _window(own: SeenFrame, others: list[tuple[Planes, Floats]], *, merged: bool) -> Aligned:
    planes, means = zip((own.planes, own.means), *others, strict=True)
    return Aligned(list(planes), list(means), merged)


def _moved(frame: SeenFrame, motion: Map, own: SeenFrame) -> tuple[Planes, Floats]:
    planes = align(frame.planes, motion, own.planes[len(own.planes) // 2 :])
    return planes, frame.means if planes is frame.planes else square_means(planes)


def _merged(frames: Sequence[SeenFrame]) -> tuple[Planes, Floats]:
    one, other = frames[0], frames[-1]
    if other is one:
        return one.planes, one.means
    for partner, planes, means in one.merged:
        if partner is other:
            return planes, means
    planes = merge(one.planes, other.planes)
    means = square_means(planes)
    one.merged.append((other, planes, means))
    return planes, means


def merge(one: Planes, other: Planes) -> Planes:
    """Return the lowest of the raw values of two frames, and the mean of the restored ones.

    Args:
        one: (2C, H, W).
        other: likewise.
    """
    channels = len(one) // 2
    merged = np.empty_like(one)
    np.minimum(one[:channels], other[:channels], out=merged[:channels])
    one, other, mean = one[channels:], other[channels:], merged[channels:]
    if merged.dtype == np.float32:
        np.add(one, other, out=mean)
        mean *= np.float32(0.5)
    else:  # without a carry
        np.bitwise_xor(one, other, out=mean)
        mean >>= 1
        mean += one & other
    return merged


def motions(frames: Sequence[SeenFrame], current: int) -> list[Map | None]:
    """Return where the points of the current frame lie in each; None where not to be seen."""
    maps: list[Map | None] = [None] * len(frames)
    maps[current] = motion = np.eye(3)
    for number in range(current, 0, -1):
        back = frames[number].back
        if back is None:
            break
        maps[number - 1] = motion = back @ motion
    motion = np.eye(3)
    for number in range(current + 1, len(frames)):
        back = frames[number].back
        if back is None:
            break
        maps[number] = motion = np.linalg.inv(back) @ motion
    return maps


def _planes(*images: Pixels) -> Planes:
    """Return the channels of images, one after another."""
    if images[0].dtype == np.uint8 and images[0].ndim == 3 and (kernels := frame_kernels()):
        planes = np.empty((3 * len(images), *images[0].shape[:2]), np.uint8)
        for number, image in enumerate(images):
            kernels.split(image, planes[3 * number : 3 * number + 3])
        return planes
    apart = [image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in images]
    return np.concatenate(apart)


def _pixels(planes: Planes) -> Pixels:
    """Return (C, H, W) as an image."""
    if len(planes) == 1:
        pixels: Pixels = planes[0]
        return pixels
    if planes.dtype == np.uint8 and (kernels := frame_kernels()):
        return kernels.join(planes)
    pixels = np.empty((*planes.shape[1:], len(planes)), planes.dtype)
    for channel, plane in enumerate(planes):  # faster than a transpose
        pixels[..., channel] = plane
    return pixels
