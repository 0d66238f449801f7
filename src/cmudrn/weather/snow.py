"""Snow after the Comprehensive Snow Dataset: flakes, streaks, blobs out of focus, a veil."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.haze import USUAL_VEIL, Haze, Veil
from cmudrn.weather.particles import Particles, composite_particles
from cmudrn.weather.weather import Degraded, Range, Weather, draw, draw_count, draw_log

MEGAPIXEL = 1e6


@dataclass(frozen=True)
class Flakes:
    """One layer of snow.

    Attributes:
        per_megapixel: how many (drawn by magnitude for each picture).
        size_px: width of a flake (drawn by magnitude for each flake).
        opacity: of a flake's middle.
        elongation: length over width: about 1 for flakes, 4 to 8 for streaks.
        softness: blur of the edge relative to the width.
        lobes: greatest depth of the lobes that make a flake irregular.
        drift_deg: standard deviation of the long axis about the direction of fall; 180 for
            flakes that lie anyhow.
        speed: flake sizes moved from frame to frame.
    """

    per_megapixel: Range
    size_px: Range
    opacity: Range
    elongation: Range = (1.0, 1.5)
    softness: Range = (0.4, 1.0)
    lobes: float = 0.25
    drift_deg: float = 180.0
    speed: float = 1.5

    def draw(
        self, shape: tuple[int, int], rng: np.random.Generator, fall_deg: float, severity: float
    ) -> Particles:
        """Return the layer's flakes in and round a picture of (H, W) pixels."""
        margin = self.margin
        density = draw_log(rng, self.per_megapixel) / MEGAPIXEL
        area = (shape[0] + 2 * margin) * (shape[1] + 2 * margin)
        count, kept = draw_count(rng, density * area, severity)
        low, high = np.log(self.size_px)
        size = np.exp(rng.uniform(low, high, count))
        path = np.radians(fall_deg + rng.normal(0, min(self.drift_deg, 20), count))
        flakes = Particles.of(
            rng.uniform(-margin, shape[1] + margin, count),
            y=rng.uniform(-margin, shape[0] + margin, count),
            length=size * rng.uniform(*self.elongation, count),
            width=size,
            angle=np.radians(fall_deg + rng.normal(0, self.drift_deg, count)),
            opacity=rng.uniform(*self.opacity, count),
            softness=size * rng.uniform(*self.softness, count),
            lobe2=rng.uniform(0, self.lobes, count),
            lobe3=rng.uniform(0, self.lobes, count),
            speed_x=self.speed * size * np.sin(path),
            speed_y=self.speed * size * np.cos(path),
        )
        return flakes.part(0, kept)

    @property
    def margin(self) -> float:
        """Pixels round a picture from which a flake can reach into it."""
        return self.size_px[1] * (self.elongation[1] + self.softness[1]) / 2

    def scaled(self, scale: float) -> Flakes:
        """Return the layer with all sizes times scale, at about the same coverage."""
        few, many = self.per_megapixel
        small, large = self.size_px
        return replace(
            self,
            per_megapixel=(few / scale, many / scale),
            size_px=(small * scale, large * scale),
        )


@dataclass(frozen=True, kw_only=True)
class Snow(Weather):
    """Falling snow and its veil.

    Attributes:
        layers: far to near.
        scale: factor on all sizes (drawn by magnitude for each picture).
        fall_deg: direction of the fall from the vertical, drawn for each picture.
        light: brightness of snow.
        veil: haze over scene and snow.
        veiled: probability of the veil.
    """

    kind = "snow"

    layers: tuple[Flakes, ...]
    scale: Range = (0.9, 1.1)
    fall_deg: Range = (-70.0, 70.0)
    light: Range = (0.97, 1.0)
    veil: Veil = USUAL_VEIL
    veiled: float = 0.0

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> SnowScene:
        """Return snow drawn for pictures of (H, W) pixels."""
        fall, scale = draw(rng, self.fall_deg), draw_log(rng, self.scale)
        layers = [layer.scaled(scale) for layer in self.layers]
        flakes = [layer.draw(shape, rng, fall, self.severity) for layer in layers]
        light = draw(rng, self.light)
        veiled = rng.random() < self.veiled and self.severity > 0
        haze = self.veil.haze(shape, rng, self.severity) if veiled else None
        parameters = {
            "fall_deg": fall,
            "scale": scale,
            "light": light,
            "flakes": [len(layer) for layer in flakes],
        }
        if haze is not None:
            far, near = float(haze.transmission.min()), float(haze.transmission.max())
            parameters["transmission"] = [far, near]
            parameters["airlight"] = haze.airlight.tolist()
        margin = max(layer.margin for layer in layers)
        return SnowScene(Particles.joined(flakes), margin, haze, parameters)


@dataclass(frozen=True)
class SnowScene:
    """Flakes and haze drawn for a picture."""

    flakes: Particles
    margin: float
    haze: Haze | None
    parameters: dict[str, Any]

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in snow, with its "mask" and, in a veil, the veil's layers."""
        shape = (clean.shape[0], clean.shape[1])
        mask = composite_particles(self.flakes.moved(frame, shape, self.margin), shape)
        opacity = mask[..., None]
        degraded = clean * (1 - opacity) + np.float32(self.parameters["light"]) * opacity
        layers = {"mask": mask}
        if self.haze is not None:
            degraded = self.haze.composite(degraded)
            layers |= {"transmission": self.haze.transmission, "airlight": self.haze.airlight}
        return Degraded(np.clip(degraded, 0, 1), layers, self.parameters)

    def reduced(self, factor: int) -> SnowScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        haze = None if self.haze is None else self.haze.reduced(factor)
        return SnowScene(self.flakes.reduced(factor), self.margin / factor, haze, self.parameters)
