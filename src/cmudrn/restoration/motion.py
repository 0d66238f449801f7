"""How a camera moved between two frames: an affine map, by robust Gauss-Newton steps.

The method is that of Lucas and Kanade (1981) with the affine warp and the Gauss-Newton scheme of
Baker and Matthews (2004), on thumbnails; phase correlation (Kuglin and Hines, 1975) finds a first
shift where the camera moved fast. Weights after Geman and McClure leave out what moves by itself.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Map = NDArray[np.float64]
"""(3, 3), of (y, x, 1) in pixels of a frame: where a point of one frame lies in another."""

THUMBNAIL_SIDE = 320
"""Longer side of the images that are compared, pixels at most."""
STEPS = 6
"""Gauss-Newton steps at most."""
SETTLED = 0.01
"""A step that moves no point of a thumbnail further ends the search, pixels."""
SIMPLER = 1.03
"""A map of fewer parameters is kept unless its error is larger by this factor: no camera that
stands still is shaken by weather."""
CLEAR = 0.9
"""Less of the error than this is no chance. Else half of the points have to bear out what the other
half finds: in dense rain, what fits chance fits only where it was sought."""
BLOCK = 12
"""Side of the squares that belong to one of the halves, pixels of a thumbnail."""
RARE = 2.0
"""How much smaller the error has to be for each part by which a map turns or zooms."""
SHIFT, AFFINE = [0, 3], [0, 1, 2, 3, 4, 5]
"""Parameters that are sought, one after the other."""
INLIER, MIN_INLIERS = 10.0, 0.3
"""Frames show the same scene where this share of the points differs by less than that, in 255ths.
In dense rain a third of them does, in frames of other scenes a fifth at most."""
MAX_LINEAR = 0.08
"""No camera turns or zooms further from one frame to the next: what is found then is chance."""
SUPPORT = 0.3
"""Share of the points with the strongest gradients, by which a map is found."""


@dataclass(frozen=True)
class Thumbnail:
    """A small grey image of a frame.

    Attributes:
        plane: (h, w), in 255ths.
        factor: pixels of the frame a side of one of its pixels.
    """

    plane: Plane
    factor: int


def make_thumbnail(luma: Plane, factor: int = 1) -> Thumbnail:
    """Return a thumbnail of a grey image.

    Args:
        luma: (H, W), in 255ths.
        factor: pixels of the frame a side of a pixel of `luma`.
    """
    step = max(1, -(-max(luma.shape) // THUMBNAIL_SIDE))
    height, width = (max(1, side // step) for side in luma.shape)
    cut = luma[: height * step, : width * step]
    if cut.size != height * width * step * step:  # narrower than a step
        cut = np.resize(cut, (height * step, width * step))
    plane = cut.reshape(height, step, width, step).mean((1, 3), dtype=np.float32)
    return Thumbnail(_smooth(plane), factor * step)


def find_motion(one: Thumbnail, other: Thumbnail) -> Map | None:
    """Return where the points of one frame lie in the other, or None if they share no scene.

    Args:
        one: of a frame.
        other: of a frame of the same size.
    """
    search = _Search(one.plane, other.plane)
    found = search.best()
    return None if found is None else _to_frame(found, one)


class _Search:
    """The points of one thumbnail that have a gradient, to be found in another."""

    def __init__(self, one: Plane, other: Plane) -> None:
        self._one, self._other = one, other
        down, across = np.gradient(one) if min(one.shape) > 1 else (one * 0, one * 0)
        energy = (down**2 + across**2).ravel()
        count = max(1, int(SUPPORT * energy.size))
        points = np.sort(np.argpartition(energy, -count)[-count:])
        y, x = np.divmod(points, one.shape[1])
        self._y, self._x = y.astype(np.float32), x.astype(np.float32)
        height, width = one.shape
        scale = max(height, width) / 2
        v, h = (self._y - (height - 1) / 2) / scale, (self._x - (width - 1) / 2) / scale
        gy, gx = down.ravel()[points], across.ravel()[points]
        # Parameters: a shift, then the shift at the border that a linear map adds.
        self._basis = np.stack([np.ones_like(v), v, h], axis=1).astype(np.float32)
        self._jacobian = np.concatenate(
            [self._basis * gy[:, None], self._basis * gx[:, None]], axis=1
        ).astype(np.float32)
        self._values = one.ravel()[points]

    def best(self) -> NDArray[np.float64] | None:
        """Return (2, 3) of shift and linear part in thumbnail pixels; None where nothing fits."""
        still = np.zeros((2, 3))
        chosen, error = still, self.error(still)
        start = still
        shift = _phase_correlation(self._one, self._other)
        if np.abs(shift).max() > 1:
            moved = np.zeros((2, 3))
            moved[:, 0] = shift
            if self.error(moved) < error:
                start = moved
        for parameters in (SHIFT, AFFINE):
            found = self.descend(start, parameters)
            now, needed = self.error(found), 1 / SIMPLER - RARE * self._linear(found)
            if now < needed * error and (
                now < CLEAR * error or self._is_borne_out(start, parameters, chosen)
            ):
                chosen, error = found, now
            start = found
        residual, inside = self._residual(chosen)
        same = np.abs(residual[inside]) < INLIER
        linear = self._linear(chosen)
        if linear > MAX_LINEAR or inside.mean() <= 0.25 or same.mean() < MIN_INLIERS:
            return None
        return chosen

    def _linear(self, motion: NDArray[np.float64]) -> float:
        """Return by how much a map turns, zooms or shears."""
        return float(2 * np.abs(motion[:, 1:]).max() / max(self._one.shape))

    def _is_borne_out(
        self, start: NDArray[np.float64], parameters: list[int], chosen: NDArray[np.float64]
    ) -> bool:
        """Return whether what one half of the points finds is better for the other half as well."""
        is_odd = (self._y // BLOCK + self._x // BLOCK) % 2 > 0
        if is_odd.all() or not is_odd.any():  # a thumbnail of one block
            return False
        ratios = []
        for half in (is_odd, ~is_odd):
            found = self.part(half).descend(start, parameters)
            other = self.part(~half)
            ratios.append(other.error(found) / other.error(chosen))
        return float(np.mean(ratios)) * SIMPLER < 1

    def part(self, points: NDArray[np.bool_]) -> _Search:
        """Return the search by some of the points."""
        part = copy(self)
        for name in ("_y", "_x", "_basis", "_jacobian", "_values"):
            setattr(part, name, getattr(self, name)[points])
        return part

    def descend(self, start: NDArray[np.float64], parameters: list[int]) -> NDArray[np.float64]:
        now = start.copy()
        jacobian = self._jacobian[:, parameters]
        for _ in range(STEPS):
            residual, inside = self._residual(now)
            if inside.mean() < 0.25:
                return start
            scale = max(2.0, 3 * float(np.median(np.abs(residual[inside]))))
            weight = inside / (1 + (residual / scale) ** 2) ** 2
            weighted = jacobian * weight[:, None].astype(np.float32)
            square = (weighted.T @ jacobian).astype(np.float64)
            square += np.eye(len(parameters)) * (1e-5 * np.trace(square) + 1e-6)
            step = np.linalg.solve(square, (weighted.T @ residual).astype(np.float64))
            now.reshape(-1)[parameters] -= step
            if np.abs(step).max() < SETTLED:
                break
        return now

    def _residual(self, motion: NDArray[np.float64]) -> tuple[Plane, NDArray[np.bool_]]:
        shift = self._basis @ motion.T.astype(np.float32)
        y, x = self._y + shift[:, 0], self._x + shift[:, 1]
        height, width = self._other.shape
        inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
        return _bilinear(self._other, y, x) - self._values, inside

    def error(self, motion: NDArray[np.float64]) -> float:
        residual, inside = self._residual(motion)
        if not inside.any():
            return float("inf")
        return float(np.minimum(np.abs(residual[inside]), 20).mean()) + 0.05


def _to_frame(motion: NDArray[np.float64], thumbnail: Thumbnail) -> Map:
    """Return a motion of thumbnail pixels as a map of frame pixels."""
    factor, (height, width) = thumbnail.factor, thumbnail.plane.shape
    scale = max(height, width) / 2
    linear = motion[:, 1:] / scale
    middle = np.array([(height * factor - 1) / 2, (width * factor - 1) / 2])
    result = np.eye(3)
    result[:2, :2] += linear
    result[:2, 2] = motion[:, 0] * factor - linear @ middle
    return result


def _smooth(plane: Plane) -> Plane:
    """Return a plane after the binomial filter of three by three."""
    p = np.pad(plane, 1, mode="edge")
    rows = p[:-2] + 2 * p[1:-1] + p[2:]
    smooth: Plane = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / np.float32(16)
    return smooth


def _bilinear(plane: Plane, y: Plane, x: Plane) -> Plane:
    height, width = plane.shape
    if height < 2 or width < 2:
        return np.full(y.shape, plane.mean(), np.float32)
    top = np.clip(np.floor(y), 0, height - 2)
    left = np.clip(np.floor(x), 0, width - 2)
    v, h = np.clip(y - top, 0, 1), np.clip(x - left, 0, 1)
    at, values = (top * width + left).astype(np.intp), plane.ravel()
    above = values[at] + h * (values[at + 1] - values[at])
    below = values[at + width] + h * (values[at + width + 1] - values[at + width])
    between: Plane = above + v * (below - above)
    return between


def _phase_correlation(one: Plane, other: Plane) -> NDArray[np.float64]:
    """Return the whole (y, x) shift at which the phases of two planes agree best."""
    window = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    first, second = (np.fft.rfft2((p - p.mean()) * window) for p in (one, other))
    cross = np.conj(first) * second
    surface = np.fft.irfft2(cross / (np.abs(cross) + 1e-3 * np.abs(cross).mean() + 1e-9), one.shape)
    place = np.unravel_index(int(np.argmax(surface)), surface.shape)
    return np.array(
        [p - n if p > n // 2 else p for p, n in zip(place, one.shape, strict=True)], float
    )
