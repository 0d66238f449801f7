"""Snow before a moving camera: flakes fly out of the point to which it moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats, Particles, composite_particles
from cmudrn.weather.weather import (
    Degraded,
    Range,
    Weather,
    draw,
    draw_count,
    draw_light,
    draw_log,
)

MEGAPIXEL = 1e6
FAR = 8.0
"""Distance of the farthest flakes; the nearest are at 1."""


@dataclass(frozen=True, kw_only=True)
class DrivingSnow(Weather):
    """Flakes in a box before a pinhole camera that moves into it.

    Attributes:
        per_megapixel: flakes in the box for each megapixel of its far end (drawn by magnitude).
        size_px: width of a flake at distance 1 (drawn by magnitude for each picture).
        opacity: of a flake's middle.
        speed: distance that the camera moves while one frame is exposed (drawn by magnitude).
        pause: exposures from one frame to the next.
        vanishing: place of the point to which it moves, as a share of height and width.
        light: brightness of snow.
    """

    kind = "snow"

    per_megapixel: Range = (2000, 20000)
    size_px: Range = (6, 20)
    opacity: Range = (0.2, 0.9)
    speed: Range = (0.05, 0.6)
    pause: float = 2.0
    vanishing: Range = (0.2, 0.8)
    light: Range = (0.75, 1.0)

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> DrivingScene:
        """Return flakes drawn for pictures of (H, W) pixels."""
        expected = draw_log(rng, self.per_megapixel) * shape[0] * shape[1] / MEGAPIXEL
        parameters = {
            "size_px": draw_log(rng, self.size_px),
            "speed": draw_log(rng, self.speed),
            "vanishing": [draw(rng, self.vanishing), draw(rng, self.vanishing)],
            "light": float(draw_light(rng, self.light, 0.0)[0]),
        }
        count, kept = draw_count(rng, expected, self.severity)
        flakes = rng.random((count, 5))[:kept].astype(np.float32)
        low, high = self.opacity
        flakes[:, 4] = low + (high - low) * flakes[:, 4]
        parameters["flakes"] = kept
        return DrivingScene(flakes, shape, 1 + self.pause, parameters)


@dataclass(frozen=True)
class DrivingScene:
    """Flakes in the box, and how the camera moves.

    Attributes:
        flakes: (N, 5): row and column at the far end, distance, and shape in [0, 1], opacity.
        shape: (H, W) of the picture that they were drawn for.
        step: exposures from frame to frame.
        parameters: what was drawn.
        factor: by which that picture is reduced.
    """

    flakes: Floats
    shape: tuple[int, int]
    step: float
    parameters: dict[str, Any]
    factor: int = 1

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in snow, with its "mask"."""
        particles = self._particles(frame)
        if self.factor > 1:
            particles = particles.reduced(self.factor)
        mask = composite_particles(particles, (clean.shape[0], clean.shape[1]))
        opacity = mask[..., None]
        degraded = clean * (1 - opacity) + np.float32(self.parameters["light"]) * opacity
        return Degraded(np.clip(degraded, 0, 1), {"mask": mask}, self.parameters)

    def _particles(self, frame: int) -> Particles:
        """Return the flakes where they are seen, as long as they move in one exposure."""
        speed = self.parameters["speed"]
        distance = 1 + (self.flakes[:, 2] * (FAR - 1) - frame * speed * self.step) % (FAR - 1)
        nearer = np.maximum(distance - speed, 0.5)
        centre = np.asarray(self.parameters["vanishing"]) * self.shape
        # At the far end the box is as large as the picture; nearer, most of it lies outside.
        row, column = ((self.flakes[:, :2] * self.shape - centre) * FAR).T
        y, x = row / distance, column / distance
        moved_y, moved_x = row / nearer - y, column / nearer - x
        width = self.parameters["size_px"] / distance
        return Particles.of(
            centre[1] + x + moved_x / 2,
            y=centre[0] + y + moved_y / 2,
            length=width + np.hypot(moved_x, moved_y),
            width=width,
            angle=np.arctan2(moved_x, moved_y),
            opacity=self.flakes[:, 4],
            softness=width * (0.4 + 0.6 * self.flakes[:, 3]),
        )

    def reduced(self, factor: int) -> DrivingScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        return replace(self, factor=self.factor * factor)
