"""Edges of roofs, drawn into clean patches: boards between a dark side and a bright sky.

A network that has seen too few takes the pale board at the edge of a dark roof for a streak that
runs aslant. What is drawn here has what tells it from weather: it goes on from end to end, its
edges are sharp, and the two sides of it differ.
"""

from __future__ import annotations

import numpy as np

from cmudrn.image import Image
from cmudrn.training.data.synthetic_structures import Floats, Plane, draw_colour, draw_size


def composite_eaves(patch: Image, rng: np.random.Generator) -> Image:
    """Return an (h, w, 3) patch in [0, 1], one side of it covered by a roof with boards."""
    shape = patch.shape[0], patch.shape[1]
    plane = Plane.draw(shape, rng)
    middle = float(plane.across.mean()) + rng.uniform(-0.3, 0.3) * shape[1]
    inwards = np.float32(rng.choice([-1, 1])) * (plane.across - np.float32(middle))
    rough = patch[::-1].mean(2, keepdims=True)
    rough = 1 + np.float32(rng.uniform(0, 0.6)) * (rough - rough.mean())
    drawn: Floats = _draw_behind(patch, rng)
    reached = 0.0
    for _ in range(int(rng.integers(1, 5))):
        inside = plane.within(-inwards, -reached)[..., None]
        drawn = drawn + inside * (draw_colour(rng) * rng.uniform(0.3, 1) * rough - drawn)
        reached += draw_size(rng, 1.5, 18)
    inside = plane.within(-inwards, -reached)[..., None]
    dark = draw_colour(rng) * np.float32(rng.uniform(0.02, 0.7)) * rough
    if rng.random() < 0.5:
        dark = patch * np.float32(rng.uniform(0.05, 0.6))
    if rng.random() < 0.4:  # boards or tiles
        period = draw_size(rng, 4, 24)
        bars = plane.bars(plane.along, period, period * rng.uniform(0.05, 0.5))
        dark = dark * (1 - np.float32(rng.uniform(0.1, 0.6)) * bars[..., None])
    drawn = drawn + inside * (dark - drawn)
    built: Image = drawn.clip(0, 1).astype(np.float32)
    return built


def _draw_behind(patch: Image, rng: np.random.Generator) -> Floats:
    """Return what lies behind the edge: the patch, or the patch before a bright sky."""
    kind = rng.random()
    if kind < 0.4:
        return patch
    if kind < 0.8:  # overexposed: leaves and branches before it keep some of their colour
        return (patch * np.float32(rng.uniform(1.2, 4))).clip(0, 1)
    sky: Floats = np.broadcast_to(np.float32(rng.uniform(0.8, 1)), patch.shape)
    return sky
