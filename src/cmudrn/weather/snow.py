"""Snow after the Comprehensive Snow Dataset: flakes, streaks, blobs out of focus, a veil."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Particles, lay_particles
from cmudrn.weather.veil import Veil
from cmudrn.weather.weather import Degraded, Range, draw_log

MEGAPIXEL = 1e6


@dataclass(frozen=True)
class Flakes:
    """One layer of snow.

    Attributes:
        per_megapixel: how many; drawn by magnitude for each picture.
        size_px: width of a flake; drawn by magnitude for each flake.
        opacity: of a flake's middle.
        elongation: length over width: about 1 for flakes, 4 to 8 for streaks.
        softness: blur of the edge relative to the width.
        lobes: greatest depth of the lobes that make a flake irregular.
        drift_deg: standard deviation of the direction about that of the fall; 180 for flakes
            that lie anyhow.
    """

    per_megapixel: Range
    size_px: Range
    opacity: Range
    elongation: Range = (1.0, 1.5)
    softness: Range = (0.4, 1.0)
    lobes: float = 0.25
    drift_deg: float = 180.0


@dataclass(frozen=True)
class Snow:
    """Falling snow and its veil.

    Attributes:
        layers: far to near.
        scale: factor on all sizes, drawn by magnitude for each picture.
        fall_deg: direction of streaks from the vertical, drawn for each picture.
        light: brightness of snow.
        veil: haze over scene and snow.
        veiled: probability of the veil.
    """

    layers: tuple[Flakes, ...]
    scale: Range = (0.9, 1.1)
    fall_deg: Range = (-70.0, 70.0)
    light: Range = (0.97, 1.0)
    veil: Veil = Veil()
    veiled: float = 0.0

    def __call__(self, clean: Image, rng: np.random.Generator) -> Degraded:
        """Return the scene in snow, with its "mask" and, in a veil, the veil's layers."""
        shape = (clean.shape[0], clean.shape[1])
        fall, scale = float(rng.uniform(*self.fall_deg)), draw_log(rng, self.scale)
        particles = [_draw_flakes(layer, shape, rng, fall, scale) for layer in self.layers]
        mask = lay_particles(_join(particles), shape)
        light = np.float32(rng.uniform(*self.light))
        opacity = mask[..., None]
        degraded = clean * (1 - opacity) + light * opacity
        layers = {"mask": mask}
        parameters = {
            "fall_deg": fall,
            "scale": scale,
            "light": float(light),
            "flakes": [len(p) for p in particles],
        }
        if rng.random() < self.veiled:
            degraded, layers["transmission"], layers["airlight"] = self.veil(degraded, rng)
        return Degraded(np.clip(degraded, 0, 1), layers, parameters)


def _draw_flakes(
    layer: Flakes, shape: tuple[int, int], rng: np.random.Generator, fall_deg: float, scale: float
) -> Particles:
    margin = scale * layer.size_px[1] * (layer.elongation[1] + layer.softness[1])
    height, width = shape[0] + margin, shape[1] + margin
    density = draw_log(rng, layer.per_megapixel) / scale
    count = int(rng.poisson(density * height * width / MEGAPIXEL))
    size = scale * np.exp(rng.uniform(*np.log(layer.size_px), count))
    angle = fall_deg + rng.normal(0, layer.drift_deg, count)
    return Particles(
        *(
            values.astype(np.float32)
            for values in (
                rng.uniform(-margin / 2, shape[1] + margin / 2, count),
                rng.uniform(-margin / 2, shape[0] + margin / 2, count),
                size * rng.uniform(*layer.elongation, count),
                size,
                np.radians(angle),
                rng.uniform(*layer.opacity, count),
                np.maximum(1, size * rng.uniform(*layer.softness, count)),
                np.zeros(count),
                rng.uniform(0, layer.lobes, count),
                rng.uniform(0, layer.lobes, count),
            )
        )
    )


def _join(parts: list[Particles]) -> Particles:
    names = Particles.__dataclass_fields__
    return Particles(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
