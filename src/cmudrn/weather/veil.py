"""The veil of far snow: haze that thickens with distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats
from cmudrn.weather.weather import Range, draw

WAVES = 6
"""Plane waves summed for the lie of the land."""


@dataclass(frozen=True)
class Veil:
    """Haze after Koschmieder: t scene + (1 - t) airlight, with t falling with depth.

    Attributes:
        transmission: of the farthest and the nearest point, each drawn from this range.
        airlight: grey level of the haze.
        tint: greatest departure of a colour channel from grey.
        rows: height in pixels of the scene that a smaller picture is a part of; 0 means that
            every picture is a whole scene.
    """

    transmission: Range = (0.55, 0.95)
    airlight: Range = (0.8, 1.0)
    tint: float = 0.02
    rows: int = 480

    def __call__(self, clean: Image, rng: np.random.Generator) -> tuple[Image, Floats, Floats]:
        """Return (picture in the veil, (H, W) transmission, (3,) airlight)."""
        far, near = sorted((draw(rng, self.transmission), draw(rng, self.transmission)))
        depth = draw_depth((clean.shape[0], clean.shape[1]), rng, self.rows)
        transmission = (near * (far / near) ** depth).astype(np.float32)
        airlight = draw(rng, self.airlight) + rng.uniform(-self.tint, self.tint, 3)
        airlight = np.clip(airlight, 0, 1).astype(np.float32)
        t = transmission[..., None]
        return (t * clean + (1 - t) * airlight).astype(np.float32), transmission, airlight


def draw_depth(shape: tuple[int, int], rng: np.random.Generator, rows: int) -> Floats:
    """Return (H, W) depth in [0, 1]: far at the top of a scene, near at its bottom, uneven."""
    height = max(rows, shape[0])
    top = rng.uniform(0, height - shape[0])
    y = (top + np.arange(shape[0], dtype=np.float32)) / height
    x = np.arange(shape[1], dtype=np.float32) / height
    depth = np.repeat(1 - y[:, None], shape[1], 1)
    for wave in range(1, WAVES + 1):
        fx, fy = 2 * np.pi * rng.normal(0, 0.7 * wave, 2)
        size, phase = 0.35 * rng.random() / wave, 2 * np.pi * rng.random()
        along_x, along_y = np.exp(1j * fx * x), size * np.exp(1j * (fy * y + phase))
        depth += np.outer(along_y, along_x).real
    return np.clip(depth, 0, 1).astype(np.float32)
