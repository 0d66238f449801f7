"""Rain as streaks of any severity, drawn straight onto the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.drops import choose_patterns
from cmudrn.weather.particles import Floats, Particles, composite_particles
from cmudrn.weather.weather import Degraded, Range, Weather, draw, draw_count, draw_light, draw_log


@dataclass(frozen=True, kw_only=True)
class Rain(Weather):
    """Falling streaks; every range is drawn once a picture, streaks vary about that.

    Attributes:
        coverage: streak area over picture area, overlaps counted twice (drawn by magnitude).
        length_px: of the streaks (drawn by magnitude).
        width_px: of the streaks (drawn by magnitude).
        opacity: of the streaks' brightest points.
        tilt_deg: lean from the vertical.
        spread_deg: standard deviation of the tilt within one direction.
        directions: greatest number of directions; one is twice as likely as each other number.
        periods: oscillations of a drop within the exposure (drawn by magnitude).
        defocus: blur of the edges relative to the width.
        attenuation: probability that streaks hide what is behind them instead of adding to it.
        light: brightness of a streak.
        tint: greatest departure of a colour channel from grey.
        travel: streak lengths that a drop falls from frame to frame.
    """

    kind = "rain"

    coverage: Range
    length_px: Range
    width_px: Range
    opacity: Range
    tilt_deg: Range = (-40.0, 40.0)
    spread_deg: Range = (0.5, 4.0)
    directions: int = 1
    periods: Range = (0.2, 6.0)
    defocus: Range = (0.2, 1.2)
    attenuation: float = 0.5
    light: Range = (0.8, 1.0)
    tint: float = 0.02
    travel: Range = (1.0, 2.5)

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> RainScene:
        """Return rain drawn for pictures of (H, W) pixels."""
        drawn: dict[str, Any] = {
            "coverage": draw_log(rng, self.coverage),
            "length_px": draw_log(rng, self.length_px),
            "width_px": draw_log(rng, self.width_px),
            "opacity": draw(rng, self.opacity),
            "defocus": draw(rng, self.defocus),
            "spread_deg": draw(rng, self.spread_deg),
            "periods": draw_log(rng, self.periods),
            "travel": draw(rng, self.travel),
        }
        count = max(1, int(rng.integers(self.directions + 1)))
        drawn["tilt_deg"] = [draw(rng, self.tilt_deg) for _ in range(count)]
        drawn["light"] = draw_light(rng, self.light, self.tint).tolist()
        drawn["attenuates"] = bool(rng.random() < self.attenuation)
        return RainScene(_draw_streaks(shape, rng, drawn, self.severity), _margin(drawn), drawn)


@dataclass(frozen=True)
class RainScene:
    """Streaks drawn for a picture, and what they are like."""

    streaks: Particles
    margin: float
    parameters: dict[str, Any]

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in rain, with its "streaks"."""
        shape = (clean.shape[0], clean.shape[1])
        streaks = composite_particles(self.streaks.moved(frame, shape, self.margin), shape)
        light = np.asarray(self.parameters["light"], np.float32)
        degraded = composite_light(clean, streaks, light, self.parameters["attenuates"])
        return Degraded(degraded, {"streaks": streaks}, self.parameters)

    def reduced(self, factor: int) -> RainScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        return RainScene(self.streaks.reduced(factor), self.margin / factor, self.parameters)


def composite_light(clean: Image, opacity: Floats, light: Floats, attenuates: bool) -> Image:
    """Return clean + opacity light, less what the streaks hide if they attenuate, clipped."""
    opacity = opacity[..., None]
    behind = clean * (1 - opacity) if attenuates else clean
    return np.clip(behind + opacity * light, 0, 1).astype(np.float32)


def _margin(drawn: dict[str, Any]) -> float:
    return float(0.75 * drawn["length_px"])


def _draw_streaks(
    shape: tuple[int, int], rng: np.random.Generator, drawn: dict[str, Any], severity: float
) -> Particles:
    """Return streaks in and round a picture, at the density that gives the coverage."""
    margin, typical = _margin(drawn), drawn["length_px"]
    area = (shape[0] + 2 * margin) * (shape[1] + 2 * margin)
    each = typical * max(drawn["width_px"], 1.0)
    count, kept = draw_count(rng, drawn["coverage"] * area / each, severity)
    width = drawn["width_px"] * rng.lognormal(0, 0.25, count)
    tilt = rng.choice(drawn["tilt_deg"], count) + rng.normal(0, drawn["spread_deg"], count)
    angle, speed = np.radians(tilt), typical * drawn["travel"] * rng.uniform(0.8, 1.2, count)
    streaks = Particles.of(
        rng.uniform(-margin, shape[1] + margin, count),
        y=rng.uniform(-margin, shape[0] + margin, count),
        length=typical * rng.lognormal(0, 0.3, count),
        width=width,
        angle=angle,
        opacity=drawn["opacity"] * np.sqrt(rng.uniform(0.15, 1, count)),
        softness=drawn["defocus"] * width,
        pattern=choose_patterns(rng, drawn["periods"] * rng.lognormal(0, 0.3, count)),
        speed_x=speed * np.sin(angle),
        speed_y=speed * np.cos(angle),
    )
    return streaks.part(0, kept)
