"""Streaks, flakes and blobs as soft capsules, laid on a picture thousands at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Whole = NDArray[np.int32]

OPAQUE = np.float32(0.995)
"""Greatest opacity of one particle; what it lets through must have a finite logarithm."""
CHUNK = 1 << 20
"""Pixels worked on at once: bounds the memory."""


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
        taper: 0 for blunt ends, 1 for streaks that fade from their middle on.
        lobe2: depth of two lobes round the edge, relative to the radius: irregular flakes.
        lobe3: depth of three lobes.
    """

    x: Floats
    y: Floats
    length: Floats
    width: Floats
    angle: Floats
    opacity: Floats
    softness: Floats
    taper: Floats
    lobe2: Floats
    lobe3: Floats

    def __len__(self) -> int:
        return len(self.x)

    def part(self, first: int, last: int) -> Particles:
        """Return particles first, ..., last - 1."""
        return Particles(*(getattr(self, field.name)[first:last] for field in fields(self)))


def lay_particles(particles: Particles, shape: tuple[int, int], *, wrap: bool = False) -> Floats:
    """Return the (H, W) opacity in [0, 1] of particles that cover each other.

    What shines through n particles is the product of what each lets through.

    Args:
        particles: those outside the picture cost little and leave no trace.
        shape: (H, W).
        wrap: what leaves the picture on one side comes back on the other: a screen that tiles.
    """
    absorbed = np.zeros(shape[0] * shape[1])
    ends = np.cumsum(_Boxes.around(particles, shape, wrap).areas)
    first = 0
    while first < len(particles):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK, "right")))
        pixels, opacity = _stamp(particles.part(first, last), shape, wrap)
        absorbed += np.bincount(pixels, -np.log1p(-opacity), absorbed.size)
        first = last
    return (-np.expm1(-absorbed)).astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class _Boxes:
    """The sheared box of pixels round each particle.

    It has `lines` pixel lines along the steeper of the axes ("major") from `line` on, and `span`
    pixels on each, about the particle's long axis. That fits a tilted streak closely.
    """

    flat: NDArray[np.bool_]
    major: Floats
    cross: Floats
    step_major: Floats
    step_cross: Floats
    line: Whole
    lines: Whole
    span: Whole

    @property
    def areas(self) -> Whole:
        return self.lines * self.span

    @classmethod
    def around(cls, p: Particles, shape: tuple[int, int], wrap: bool) -> _Boxes:
        step_x, step_y = np.sin(p.angle), np.cos(p.angle)
        flat = np.abs(step_x) > np.abs(step_y)
        major, cross = np.where(flat, p.x, p.y), np.where(flat, p.y, p.x)
        step_major, step_cross = np.where(flat, step_x, step_y), np.where(flat, step_y, step_x)
        reach = np.maximum(p.width, 1) / 2 * (1 + p.lobe2 + p.lobe3) + p.softness / 2
        half = (p.length - p.width) / 2 * np.abs(step_major) + reach
        line = np.ceil(major - half).astype(np.int32)
        last = np.floor(major + half).astype(np.int32)
        if not wrap:
            line = np.maximum(line, 0)
            last = np.minimum(last, np.where(flat, shape[1], shape[0]) - 1)
        span = 2 * np.ceil(reach / np.abs(step_major)).astype(np.int32) + 1
        lines = np.maximum(last - line + 1, 0)
        return cls(flat, major, cross, step_major, step_cross, line, lines, span)


def _stamp(particles: Particles, shape: tuple[int, int], wrap: bool) -> tuple[Whole, Floats]:
    """Return (flat pixel numbers, opacity there), particle after particle."""
    boxes = _Boxes.around(particles, shape, wrap)
    areas = boxes.areas
    which = np.repeat(np.arange(len(particles), dtype=np.int32), areas)
    place = np.arange(len(which), dtype=np.int32) - (np.cumsum(areas) - areas)[which]
    span = boxes.span[which]
    step = place // span
    line = boxes.line[which] + step
    along = line - boxes.major[which]
    middle = boxes.cross[which]
    slope = (boxes.step_cross / boxes.step_major)[which]
    cross = np.rint(middle + along * slope).astype(np.int32) + (place - step * span) - span // 2
    aside = cross - middle
    flat = boxes.flat[which]
    row, column = np.where(flat, cross, line), np.where(flat, line, cross)
    opacity = _profile(
        particles,
        which,
        along * boxes.step_major[which] + aside * boxes.step_cross[which],
        aside * boxes.step_major[which] - along * boxes.step_cross[which],
    )
    seen = opacity > 0
    if wrap:
        row, column = row % shape[0], column % shape[1]
    else:
        cross_end = np.where(boxes.flat, shape[0], shape[1]).astype(np.int32)[which]
        seen &= (cross >= 0) & (cross < cross_end)
    return (row * np.int32(shape[1]) + column)[seen], opacity[seen]


def _profile(p: Particles, which: Whole, along: Floats, aside: Floats) -> Floats:
    """Return opacity at an offset along and beside the long axis of each particle."""
    half = ((p.length - p.width) / 2)[which]
    beyond = np.maximum(np.abs(along) - half, 0)
    square = beyond * beyond + aside * aside
    distance = np.sqrt(square)
    if p.lobe2.any() or p.lobe3.any():
        square = np.maximum(square, np.float32(1e-6))
        ratio = (along * along - aside * aside) / square
        third = along * (along * along - 3 * aside * aside) / (square * np.sqrt(square))
        distance = distance / (1 + p.lobe2[which] * ratio + p.lobe3[which] * third)
    radius = (np.maximum(p.width, 1) / 2)[which]
    edge = np.clip((radius - distance) / p.softness[which] + np.float32(0.5), 0, 1)
    edge *= edge * (3 - 2 * edge)
    fade = (np.minimum(p.opacity * np.minimum(p.width, 1), OPAQUE))[which]
    if p.taper.any():
        relative = np.abs(along) / (p.length / 2)[which]
        fade = fade * (1 - p.taper[which] * np.minimum(relative * relative, 1))
    return (edge * fade).astype(np.float32)
