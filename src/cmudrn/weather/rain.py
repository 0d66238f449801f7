"""Rain as streaks of any severity, drawn straight onto the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats, Particles, lay_particles
from cmudrn.weather.weather import Degraded, Range, draw, draw_log


@dataclass(frozen=True)
class Rain:
    """Falling streaks; every range is drawn once a picture, streaks vary about that.

    Attributes:
        coverage: streak area over picture area, overlaps counted twice (drawn by magnitude).
        length_px: of the streaks (drawn by magnitude).
        width_px: of the streaks (drawn by magnitude).
        opacity: of the streaks.
        tilt_deg: lean from the vertical.
        spread_deg: standard deviation of the tilt within one direction.
        directions: greatest number of directions; one is twice as likely as each other number.
        defocus: blur of the edges relative to the width, drawn for each picture.
        attenuation: probability that streaks hide what is behind them instead of adding to it.
        light: brightness of a streak.
        tint: greatest departure of a colour channel from grey.
    """

    coverage: Range
    length_px: Range
    width_px: Range
    opacity: Range
    tilt_deg: Range = (-40.0, 40.0)
    spread_deg: Range = (0.5, 4.0)
    directions: int = 1
    defocus: Range = (0.2, 1.2)
    attenuation: float = 0.5
    light: Range = (0.8, 1.0)
    tint: float = 0.02

    def __call__(self, clean: Image, rng: np.random.Generator) -> Degraded:
        """Return the scene in rain, with its "streaks"."""
        shape = (clean.shape[0], clean.shape[1])
        parameters = {
            "coverage": draw_log(rng, self.coverage),
            "length_px": draw_log(rng, self.length_px),
            "width_px": draw_log(rng, self.width_px),
            "opacity": draw(rng, self.opacity),
            "defocus": draw(rng, self.defocus),
            "spread_deg": draw(rng, self.spread_deg),
        }
        count = max(1, int(rng.integers(self.directions + 1)))
        tilts = [draw(rng, self.tilt_deg) for _ in range(count)]
        streaks = lay_particles(_streaks(shape, rng, parameters, np.array(tilts)), shape)
        attenuates = bool(rng.random() < self.attenuation)
        light = draw(rng, self.light) + rng.uniform(-self.tint, self.tint, 3)
        degraded = lay_light(clean, streaks, light.astype(np.float32), attenuates)
        parameters |= {"tilt_deg": tilts, "light": light.tolist(), "attenuates": attenuates}
        return Degraded(degraded, {"streaks": streaks}, parameters)


def lay_light(clean: Image, opacity: Floats, light: Floats, attenuates: bool) -> Image:
    """Return clean + opacity light, less what the streaks hide if they attenuate, clipped."""
    opacity = opacity[..., None]
    behind = clean * (1 - opacity) if attenuates else clean
    return np.clip(behind + opacity * light, 0, 1).astype(np.float32)


def _streaks(
    shape: tuple[int, int],
    rng: np.random.Generator,
    drawn: dict[str, float],
    tilts: Floats,
) -> Particles:
    """Return streaks in and round a picture, at the density that gives the coverage."""
    margin = 0.75 * drawn["length_px"]
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    each = drawn["length_px"] * max(drawn["width_px"], 1.0)
    count = int(rng.poisson(drawn["coverage"] * height * width / each))
    thickness = drawn["width_px"] * rng.lognormal(0, 0.25, count)
    angle = rng.choice(tilts, count) + rng.normal(0, drawn["spread_deg"], count)
    return Particles(
        *(
            values.astype(np.float32)
            for values in (
                rng.uniform(-margin, shape[1] + margin, count),
                rng.uniform(-margin, shape[0] + margin, count),
                np.maximum(drawn["length_px"] * rng.lognormal(0, 0.3, count), thickness),
                thickness,
                np.radians(angle),
                drawn["opacity"] * np.sqrt(rng.uniform(0.15, 1, count)),
                np.maximum(1, drawn["defocus"] * thickness),
                rng.uniform(0.3, 1, count),
                np.zeros(count),
                np.zeros(count),
            )
        )
    )
