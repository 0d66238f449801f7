"""From drops in the air to streaks in the picture: the camera's part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.weather.drops import (
    choose_patterns,
    draw_diameters_mm,
    fall_speed_m_per_s,
    mode_frequency_hz,
)
from cmudrn.weather.particles import Particles


@dataclass(frozen=True)
class Exposure:
    """How a camera sees drops at some distance.

    Attributes:
        exposure_s: how long the shutter is open: the length of streaks.
        px_per_mm: size of a millimetre in the picture, of the median drop.
        spread: standard deviation of its logarithm: near and far drops together.
        light: brightness of a streak's brightest point, median.
        light_spread: standard deviation of its logarithm.
        blur_px: defocus, as the width of a streak's soft edge.
        rate_mm_per_h: how hard it rains: the sizes of the drops.
        diameter_mm: least and greatest drop seen.
        sway_deg: standard deviation of the direction of the fall.
    """

    exposure_s: float
    px_per_mm: float
    light: float
    spread: float = 0.3
    light_spread: float = 0.3
    blur_px: float = 1.0
    rate_mm_per_h: float = 30.0
    diameter_mm: tuple[float, float] = (0.8, 4.0)
    sway_deg: float = 1.0

    def draw(
        self, rng: np.random.Generator, count: int, shape: tuple[int, int], shear: float
    ) -> Particles:
        """Return streaks of random drops over a picture of (H, W) pixels.

        Args:
            rng: source of all randomness.
            count: number of drops.
            shape: (H, W).
            shear: tangent of the lean that the wind gives them.
        """
        diameter_mm = draw_diameters_mm(rng, count, self.rate_mm_per_h, self.diameter_mm)
        px_per_mm = self.px_per_mm * rng.lognormal(0, self.spread, count)
        width = diameter_mm * px_per_mm
        fall_mm = 1000 * fall_speed_m_per_s(diameter_mm) * self.exposure_s
        periods = mode_frequency_hz(2, diameter_mm) * self.exposure_s
        return Particles.of(
            rng.uniform(0, shape[1], count),
            y=rng.uniform(0, shape[0], count),
            length=fall_mm * px_per_mm + width,
            width=width,
            angle=np.arctan(shear) + np.radians(rng.normal(0, self.sway_deg, count)),
            opacity=np.minimum(self.light * rng.lognormal(0, self.light_spread, count), 1),
            softness=0.5 * width + self.blur_px,
            pattern=choose_patterns(rng, periods),
        )
