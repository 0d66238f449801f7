"""Streaks, flakes and blobs as soft capsules, laid on a picture thousands at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.weather.drops import SAMPLES, streak_patterns

Floats = NDArray[np.float32]
Whole = NDArray[np.int32]

OPAQUE = np.float32(0.995)
"""Greatest opacity of one particle; what it lets through must have a finite logarithm."""
CHUNK = 1 << 20
"""Pixels worked on at once: bounds the memory."""
PLAIN = -1
"""Pattern of particles that are equally opaque all along."""


@dataclass(frozen=True)
class Particles:
    """Soft capsules in pixel coordinates, one array element each.

    Attributes:
        x: column of the centre; 0 is the middle of the leftmost pixel.
        y: row of the centre.
        length: whole length in pixels, not below the width; equal to it for a round flake.
        width: in pixels; below one pixel a particle gets fainter instead of thinner.
        angle: of the long axis from the vertical, radians; positive leans to the right below.
        opacity: of the middle, in [0, 1].
        softness: width in pixels of the edge's fall from opaque to clear, at least one.
        pattern: row of `streak_patterns`, or PLAIN.
        lobe2: depth of two lobes round the edge, relative to the radius: irregular flakes.
        lobe3: depth of three lobes.
        speed_x: pixels moved from one frame to the next.
        speed_y: pixels moved from one frame to the next.
    """

    x: Floats
    y: Floats
    length: Floats
    width: Floats
    angle: Floats
    opacity: Floats
    softness: Floats
    pattern: Whole
    lobe2: Floats
    lobe3: Floats
    speed_x: Floats
    speed_y: Floats

    @classmethod
    def of(cls, x: NDArray[Any], **values: NDArray[Any] | float) -> Particles:
        """Return particles from arrays or numbers; what is not named is plain and at rest."""
        values = {"pattern": PLAIN, "lobe2": 0, "lobe3": 0, "speed_x": 0, "speed_y": 0} | values
        width = np.asarray(values["width"])
        values["softness"] = np.maximum(values["softness"], 1)
        values["length"] = np.maximum(values["length"], width)
        types = {
            field.name: np.int32 if field.name == "pattern" else np.float32 for field in fields(cls)
        }
        arrays: dict[str, Any] = {
            name: np.full(x.shape, value, types[name]) for name, value in {"x": x, **values}.items()
        }
        return cls(**arrays)

    @classmethod
    def joined(cls, parts: list[Particles]) -> Particles:
        """Return the particles of all parts."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def __len__(self) -> int:
        return len(self.x)

    def part(self, first: int, last: int) -> Particles:
        """Return particles first, ..., last - 1."""
        return Particles(*(getattr(self, field.name)[first:last] for field in fields(self)))

    def reduced(self, factor: int) -> Particles:
        """Return them in a picture with 1 / factor of the rows and columns.

        What falls below a pixel in length, too, gets fainter: the light of an area stays.
        """
        length = self.length / np.float32(factor)
        return replace(
            self,
            x=(self.x + np.float32(0.5)) / np.float32(factor) - np.float32(0.5),
            y=(self.y + np.float32(0.5)) / np.float32(factor) - np.float32(0.5),
            length=np.maximum(length, 1),
            width=self.width / np.float32(factor),
            opacity=self.opacity * np.minimum(length, 1),
            softness=np.maximum(self.softness / np.float32(factor), 1),
            speed_x=self.speed_x / np.float32(factor),
            speed_y=self.speed_y / np.float32(factor),
        )

    def moved(self, frames: float, shape: tuple[int, int], margin: float) -> Particles:
        """Return them some frames later; what leaves the picture and its margin comes back in."""
        if not frames:
            return self
        x, y = (
            (place + margin + frames * speed) % (side + 2 * margin) - margin
            for place, speed, side in (
                (self.x, self.speed_x, shape[1]),
                (self.y, self.speed_y, shape[0]),
            )
        )
        return replace(self, x=x.astype(np.float32), y=y.astype(np.float32))


def composite_particles(
    particles: Particles, shape: tuple[int, int], *, wrap: bool = False
) -> Floats:
    """Return the (H, W) opacity in [0, 1] of particles that cover each other.

    What shines through n particles is the product of what each lets through.

    Args:
        particles: those outside the picture cost little and leave no trace.
        shape: (H, W).
        wrap: what leaves the picture on one side comes back on the other: a screen that tiles.
    """
    absorbed = np.zeros(shape[0] * shape[1])
    boxes = _box_particles(particles, shape, wrap)
    ends = np.cumsum(boxes.lines.astype(np.int64) * boxes.span)
    first = 0
    while first < len(particles):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK, "right")))
        pixels, opacity = _stamp(particles.part(first, last), boxes.part(first, last), wrap)
        absorbed += np.bincount(pixels, -np.log1p(-opacity), absorbed.size)
        first = last
    return (-np.expm1(-absorbed)).astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class _Boxes:
    """The sheared box of pixels round each particle.

    It has `lines` pixel lines across the steeper of the axes ("major") from `line` on, and `span`
    pixels on each, about the particle's long axis. That fits a tilted streak closely.
    """

    major: Floats
    cross: Floats
    step_major: Floats
    step_cross: Floats
    line: Whole
    lines: Whole
    span: Whole
    major_side: Whole
    cross_side: Whole
    major_stride: Whole
    cross_stride: Whole

    def part(self, first: int, last: int) -> _Boxes:
        return _Boxes(*(getattr(self, field.name)[first:last] for field in fields(self)))


def _box_particles(p: Particles, shape: tuple[int, int], wrap: bool) -> _Boxes:
    step_x, step_y = np.sin(p.angle), np.cos(p.angle)
    flat = np.abs(step_x) > np.abs(step_y)
    major, cross = np.where(flat, p.x, p.y), np.where(flat, p.y, p.x)
    step_major, step_cross = np.where(flat, step_x, step_y), np.where(flat, step_y, step_x)
    sides = np.asarray((shape[1], shape[0]), np.int32)
    major_side, cross_side = sides[1 - flat.astype(int)], sides[flat.astype(int)]
    strides = np.asarray((1, shape[1]), np.int32)
    major_stride, cross_stride = strides[1 - flat.astype(int)], strides[flat.astype(int)]
    reach = np.maximum(p.width, 1) / 2 * (1 + p.lobe2 + p.lobe3) + p.softness / 2
    half = (p.length - p.width) / 2 * np.abs(step_major) + reach
    line = np.ceil(major - half).astype(np.int32)
    last = np.floor(major + half).astype(np.int32)
    span = 2 * np.ceil(reach / np.abs(step_major)).astype(np.int32) + 1
    if not wrap:
        line = np.maximum(line, 0)
        last = np.minimum(last, major_side - 1)
        ends = cross + (np.stack([line, last]) - major) * (step_cross / step_major)
        outside = (ends.max(0) + span < 0) | (ends.min(0) - span > cross_side)
        last[outside] = line[outside] - 1
    return _Boxes(
        major, cross, step_major, step_cross,
        line, np.maximum(last - line + 1, 0), span,
        major_side, cross_side, major_stride, cross_stride,
    )  # fmt: skip


def _stamp(particles: Particles, boxes: _Boxes, wrap: bool) -> tuple[Whole, Floats]:
    """Return (flat pixel numbers, opacity there), particle after particle."""
    areas = boxes.lines * boxes.span
    which = np.repeat(np.arange(len(particles), dtype=np.int32), areas)
    place = np.arange(len(which), dtype=np.int32) - (np.cumsum(areas) - areas).take(which)
    step = place // boxes.span.take(which)
    line = boxes.line.take(which) + step
    along = line.astype(np.float32) - boxes.major.take(which)
    slope = (boxes.step_cross / boxes.step_major).take(which)
    middle = boxes.cross.take(which)
    cross = np.rint(middle + along * slope).astype(np.int32)
    cross += (place - step * boxes.span.take(which)) - (boxes.span // 2).take(which)
    aside = cross.astype(np.float32) - middle
    step_major, step_cross = boxes.step_major.take(which), boxes.step_cross.take(which)
    opacity = _profile(
        particles,
        which,
        along * step_major + aside * step_cross,
        aside * step_major - along * step_cross,
    )
    if wrap:
        line, cross = line % boxes.major_side.take(which), cross % boxes.cross_side.take(which)
        seen = opacity > 0
    else:
        seen = (opacity > 0) & (cross >= 0) & (cross < boxes.cross_side.take(which))
    pixels = line * boxes.major_stride.take(which) + cross * boxes.cross_stride.take(which)
    return pixels[seen], opacity[seen]


def _profile(p: Particles, which: Whole, along: Floats, aside: Floats) -> Floats:
    """Return opacity at an offset along and beside the long axis of each particle."""
    beyond = np.maximum(np.abs(along) - ((p.length - p.width) / 2).take(which), 0)
    distance = np.hypot(beyond, aside)
    if p.lobe2.any() or p.lobe3.any():
        distance /= _lobes(p, which, along, aside)
    radius = (np.maximum(p.width, 1) / 2).take(which)
    edge: Floats = np.clip((radius - distance) / p.softness.take(which) + np.float32(0.5), 0, 1)
    edge *= edge * (3 - 2 * edge)
    edge *= np.minimum(p.opacity * np.minimum(p.width, 1), OPAQUE).take(which)
    if (p.pattern > PLAIN).any():
        sample = (along * (SAMPLES / p.length).take(which)).astype(np.int32) + SAMPLES // 2
        sample = np.clip(sample, 0, SAMPLES - 1)
        edge *= streak_patterns()[p.pattern.take(which), sample]
    return edge


def _lobes(p: Particles, which: Whole, along: Floats, aside: Floats) -> Floats:
    """Return the radius in a direction relative to a circle's: 1 + a cos 2t + b cos 3t."""
    square = np.maximum(along * along + aside * aside, np.float32(1e-6))
    cos2 = (along * along - aside * aside) / square
    cos3 = along * (along * along - 3 * aside * aside) / (square * np.sqrt(square))
    radius: Floats = 1 + p.lobe2.take(which) * cos2 + p.lobe3.take(which) * cos3
    return radius
