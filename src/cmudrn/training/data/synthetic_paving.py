"""What lies on the ground, drawn into clean patches: pebbles, cobbles, kerbs, road markings.

A network that has seen too little of it takes pale pebbles for flakes, and a white kerb that runs
aslant for a streak. What is drawn here has what tells them from weather: stones touch one another
and are lit from one side; a kerb has sharp edges and goes on.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from cmudrn.image import Image
from cmudrn.training.data.synthetic_structures import Floats, Plane, draw_colour, draw_size

TABLE = 64
"""Stones repeat after this many along each axis, which no patch shows."""


def composite_paving(patch: Image, rng: np.random.Generator) -> Image:
    """Return an (h, w, 3) patch in [0, 1] with stones or with markings drawn over it."""
    drawn = composite_stones if rng.random() < 0.5 else composite_markings
    paved: Image = drawn(patch, rng).clip(0, 1).astype(np.float32)
    return paved


def composite_stones(patch: Image, rng: np.random.Generator) -> Floats:
    """Pebbles, gravel, cobbles: cells around jittered points, shaded like domes, dark between."""
    plane = Plane.draw(patch.shape[:2], rng)
    size = np.float32(draw_size(rng, 3.5, 24))
    across, along = plane.across / size, plane.along / size * np.float32(rng.uniform(0.7, 1.3))
    cells = np.floor(across).astype(np.intp), np.floor(along).astype(np.intp)
    shift = rng.uniform(-0.4, 0.4, (2, TABLE, TABLE)).astype(np.float32) + np.float32(0.5)
    tone = rng.uniform(rng.uniform(0, 0.8), 1, (TABLE, TABLE)).astype(np.float32)
    nearest = np.full(across.shape, 9, np.float32)
    second, stone, slope = nearest.copy(), nearest.copy(), np.zeros_like(nearest)
    light = rng.uniform(0, 2 * np.pi)
    to_light = np.float32(np.cos(light)), np.float32(np.sin(light))
    for row, column in product((-1, 0, 1), repeat=2):
        at = (cells[0] + column) % TABLE, (cells[1] + row) % TABLE
        right = across - (cells[0] + column) - shift[0][at]
        down = along - (cells[1] + row) - shift[1][at]
        distance = np.hypot(right, down)
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        stone = np.where(closer, tone[at], stone)
        slope = np.where(closer, right * to_light[0] + down * to_light[1], slope)
        nearest = np.minimum(nearest, distance)
    gap = np.float32(rng.uniform(0.03, 0.25))
    covered = ((second - nearest - gap) * size / plane.edge + 0.5).clip(0, 1)[..., None]
    dome = 1 - np.float32(rng.uniform(0, 0.5)) * nearest + np.float32(rng.uniform(0, 0.6)) * slope
    rough = 1 + np.float32(rng.uniform(0, 0.6)) * (patch - patch.mean())
    stones = draw_colour(rng) * (stone * dome)[..., None] * rough
    ground = draw_colour(rng) * np.float32(rng.uniform(0, 0.4)) * rough
    drawn: Floats = ground + covered * (stones - ground)
    return drawn


def composite_markings(patch: Image, rng: np.random.Generator) -> Floats:
    """One to three long pale bars in any direction, some dashed: kerbs, lane lines, steps."""
    plane = Plane.draw(patch.shape[:2], rng)
    turn = np.float32(rng.uniform(0, np.pi))
    across = plane.across * np.cos(turn) + plane.along * np.sin(turn)
    along = plane.along * np.cos(turn) - plane.across * np.sin(turn)
    texture = patch[::-1, ::-1].mean(2)
    worn = np.float32(rng.uniform(0, 4)) * (texture - texture.mean())
    covered = np.zeros_like(across)
    centre = across.mean() + np.float32(rng.uniform(-0.3, 0.3) * across.shape[1])
    for _ in range(int(rng.integers(1, 4))):
        width = draw_size(rng, 2.5, 20)
        bar = plane.within(np.abs(across - centre) + worn, width / 2)
        if rng.random() < 0.3:
            period = rng.uniform(20, 120)
            bar = bar * plane.bars(along, period, period * rng.uniform(0.3, 0.7))
        covered = np.maximum(covered, bar * np.float32(rng.uniform(0.6, 1)))
        centre = centre + np.float32(width * rng.uniform(1.2, 4))
    level = np.float32(rng.uniform(0.6, 1)) + np.float32(rng.uniform(0, 0.4)) * worn
    behind = patch * np.float32(rng.uniform(0.3, 1))
    if rng.random() < 0.5:  # wet ground is grey
        grey = behind.mean(2, keepdims=True)
        behind = grey + np.float32(0.3) * (behind - grey)
    pale = level[..., None] * (1 + rng.normal(0, 0.04, 3).astype(np.float32))
    drawn: Floats = behind + covered[..., None] * (pale - behind)
    return drawn
