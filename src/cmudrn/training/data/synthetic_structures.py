"""Things that people build, drawn into clean patches: railings, window frames, tiles, letters.

Photographs of nature show few upright bars, bright frames and lattices, and a network that has not
seen them takes them for streaks and flakes. What is drawn here has what tells them from weather:
edges as sharp on both sides, one opacity, repetition, any colour, any direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.image import Image

Floats = NDArray[np.floating[Any]]

UPRIGHT = 0.7
"""Share of structures that stand upright or lie level, but for some degrees."""
WHITE = 0.4
"""Share of structures that are bright and almost without colour."""
WHOLE = 0.5
"""Share of structures that fill the patch; others end within it."""


@dataclass(frozen=True)
class Plane:
    """The plane of a structure as the camera sees it.

    Attributes:
        across: (h, w), pixels along the structure's first axis.
        along: (h, w), pixels along its second axis.
        edge: width of an edge's slope, pixels.
    """

    across: Floats
    along: Floats
    edge: float

    @classmethod
    def draw(cls, shape: tuple[int, int], rng: np.random.Generator) -> Plane:
        """Return a plane turned, shifted and seen at a slant."""
        rows, columns = np.meshgrid(
            *(np.arange(side, dtype=np.float32) - side / 2 for side in shape), indexing="ij"
        )
        if rng.random() < UPRIGHT:
            angle = np.radians(rng.normal(0, 6) + rng.choice([0, 90]))
        else:
            angle = rng.uniform(0, np.pi)
        slant = rng.uniform(-0.3, 0.3, 2) / max(shape)
        near = np.float32(1) / (1 + np.float32(slant[0]) * columns + np.float32(slant[1]) * rows)
        sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
        across = (columns * cosine + rows * sine) * near + np.float32(rng.uniform(0, 50))
        along = (rows * cosine - columns * sine) * near + np.float32(rng.uniform(0, 50))
        return cls(across, along, float(rng.uniform(0.6, 1.5)))

    def within(self, distance: Floats, half: float) -> Floats:
        """Return 1 where a distance is below half, 0 where it is above, a slope between."""
        covered: Floats = (np.float32(half) - distance) / np.float32(self.edge) + 0.5
        return covered.clip(0, 1)

    def bars(self, position: Floats, period: float, width: float) -> Floats:
        """Return bars of a width, one in each period along a coordinate."""
        return self.within(np.abs(np.mod(position, np.float32(period)) - period / 2), width / 2)


def draw_bars(plane: Plane, rng: np.random.Generator) -> Floats:
    """Fences, railings, the slats of a blind, steps."""
    period = draw_size(rng, 3, 26)
    return plane.bars(plane.across, period, period * rng.uniform(0.2, 0.75))


def draw_louvres(plane: Plane, rng: np.random.Generator) -> Floats:
    """Slats and tiles that are lit from one side: bright to dark within each."""
    period = np.float32(draw_size(rng, 4, 20))
    return np.mod(plane.across, period) / period


def draw_grid(plane: Plane, rng: np.random.Generator) -> Floats:
    """Window bars, wire mesh, tiles."""
    first, second = draw_size(rng, 5, 30), draw_size(rng, 5, 30)
    width = min(first, second) * rng.uniform(0.1, 0.5)
    bars = plane.bars(plane.across, first, width), plane.bars(plane.along, second, width)
    return np.maximum(*bars)


def draw_bricks(plane: Plane, rng: np.random.Generator) -> Floats:
    """Bricks and shingles: each row is shifted by half a brick."""
    height = draw_size(rng, 4, 14)
    length = height * rng.uniform(1, 3)
    row = np.floor(plane.along / np.float32(height))
    shifted = plane.across + np.mod(row, 2) * np.float32(length / 2)
    width = height * rng.uniform(0.12, 0.4)
    return np.maximum(plane.bars(plane.along, height, width), plane.bars(shifted, length, width))


def draw_lattice(plane: Plane, rng: np.random.Generator) -> Floats:
    """Bars that cross aslant."""
    period, lean = draw_size(rng, 6, 28), np.float32(rng.uniform(0.4, 1.5))
    width = period * rng.uniform(0.12, 0.45)
    rising, falling = plane.across + lean * plane.along, plane.across - lean * plane.along
    return np.maximum(plane.bars(rising, period, width), plane.bars(falling, period, width))


def draw_wires(plane: Plane, rng: np.random.Generator) -> Floats:
    """A few ropes, masts, branches, edges of a roof: long, hardly bent, parallel or not."""
    covered = np.zeros_like(plane.across)
    middle = float(plane.across.mean())
    for _ in range(int(rng.integers(1, 5))):
        bend = np.float32(rng.normal(0, 0.002))
        lean = np.float32(rng.normal(0, 0.25))
        centre = np.float32(middle + rng.uniform(-0.5, 0.5) * plane.across.shape[1])
        along = plane.along - plane.along.mean()
        distance = np.abs(plane.across - centre - lean * along - bend * along * along)
        covered = np.maximum(covered, plane.within(distance, draw_size(rng, 1, 7) / 2))
    return covered


def draw_frames(plane: Plane, rng: np.random.Generator) -> Floats:
    """Window frames and signs: boxes with a rim, side by side."""
    period, height = draw_size(rng, 10, 40), draw_size(rng, 12, 60)
    rim = draw_size(rng, 1.5, 6)
    boxes = [
        np.abs(np.mod(at, np.float32(length)) - length / 2) / length
        for at, length in ((plane.across, period), (plane.along, height))
    ]
    outer = [share * length for share, length in zip(boxes, (period, height), strict=True)]
    half = period * rng.uniform(0.3, 0.48), height * rng.uniform(0.3, 0.48)
    inside = np.minimum(*(plane.within(d, h) for d, h in zip(outer, half, strict=True)))
    hole = np.minimum(*(plane.within(d, h - rim) for d, h in zip(outer, half, strict=True)))
    return inside - hole


def draw_letters(plane: Plane, rng: np.random.Generator) -> Floats:
    """Marks of equal stroke on a grid, as letters and tracery are."""
    cell = np.float32(draw_size(rng, 1.6, 5))
    marks = rng.random((16, 16)) < 0.5
    marks[:: int(rng.integers(3, 8))] = False
    at = [np.floor(a / cell).astype(np.intp) % 16 for a in (plane.along, plane.across)]
    covered: Floats = marks[at[0], at[1]].astype(np.float32)
    return covered


def draw_blocks(plane: Plane, rng: np.random.Generator) -> Floats:
    """A few flat pieces with straight edges: timber frames, roofs, signs."""
    covered = np.zeros_like(plane.across)
    across, along = plane.across - plane.across.mean(), plane.along - plane.along.mean()
    for _ in range(int(rng.integers(1, 5))):
        turn = rng.uniform(0, 2 * np.pi)
        centre = rng.uniform(-0.4, 0.4, 2) * plane.across.shape
        piece = np.ones_like(covered)
        for side in range(int(rng.integers(3, 5))):
            angle = turn + side * np.pi / 2 + rng.normal(0, 0.25)
            reach = (across - np.float32(centre[1])) * np.float32(np.cos(angle)) + (
                along - np.float32(centre[0])
            ) * np.float32(np.sin(angle))
            piece = np.minimum(piece, plane.within(reach, draw_size(rng, 1.5, 18)))
        covered = np.maximum(covered, piece)
    return covered


STRUCTURES: tuple[Callable[[Plane, np.random.Generator], Floats], ...] = (
    draw_bars,
    draw_louvres,
    draw_grid,
    draw_bricks,
    draw_lattice,
    draw_wires,
    draw_frames,
    draw_letters,
    draw_blocks,
)


def composite_structure(patch: Image, rng: np.random.Generator) -> Image:
    """Return an (h, w, 3) patch in [0, 1] with one structure drawn over it."""
    shape = patch.shape[0], patch.shape[1]
    plane = Plane.draw(shape, rng)
    covered = STRUCTURES[int(rng.integers(len(STRUCTURES)))](plane, rng)[..., None]
    rough = patch[::-1].mean(2, keepdims=True)  # another part of the photograph as its texture
    rough = 1 + np.float32(rng.uniform(0, 0.5)) * (rough - rough.mean())
    ramp = 1 + np.float32(rng.uniform(-0.25, 0.25)) * (plane.along[..., None] / max(shape) - 0.5)
    ink = draw_colour(rng) * rough * ramp
    ground = rng.random()
    if ground < 0.4:
        behind = patch
    elif ground < 0.7:
        behind = patch * np.float32(rng.uniform(0.05, 0.7))
    else:
        behind = draw_colour(rng) * np.float32(rng.uniform(0.05, 1)) * rough
    drawn = behind + covered * (ink - behind)
    if rng.random() >= WHOLE:
        middle = float(np.mean(plane.across)) + rng.uniform(-0.3, 0.3) * shape[1]
        inside = plane.within(np.abs(plane.across - np.float32(middle)), draw_size(rng, 5, 30))
        drawn = patch + inside[..., None] * (drawn - patch)
    built: Image = drawn.clip(0, 1).astype(np.float32)
    return built


def draw_colour(rng: np.random.Generator) -> Floats:
    """Return an RGB colour in [0, 1], often almost white."""
    if rng.random() < WHITE:
        return np.clip(rng.uniform(0.6, 1) + rng.normal(0, 0.03, 3), 0, 1).astype(np.float32)
    return np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.15, 3), 0, 1).astype(np.float32)


def draw_size(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a size between two bounds; halves and doubles are equally likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
