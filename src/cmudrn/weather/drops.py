"""The physics of one raindrop: its size, its speed, how it oscillates and the streak it leaves."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

SURFACE_TENSION_N_PER_M = 0.0728
WATER_KG_PER_M3 = 1000.0

MODE_RATIO = float(np.sqrt(30 / 8))
"""Frequency of a drop's third mode over that of its second, by Rayleigh's formula."""
PERIODS = np.geomspace(0.2, 12, 24)
"""Periods of the second mode within an exposure for which streaks are tabulated."""
VARIANTS = 12
"""Streaks tabulated for each, with other phases, amplitudes and lights."""
SAMPLES = 64
"""Points along a tabulated streak."""
CAUSTIC = 4.0
"""Greatest brightening of a highlight; a flat spot would focus without limit."""


def fall_speed_m_per_s(diameter_mm: Numbers) -> Numbers:
    """Return the terminal velocity of drops: 200 sqrt(radius in m).

    References:
        Garg and Nayar, "Vision and Rain", IJCV 2007, section 3.
    """
    return 200 * np.sqrt(diameter_mm / 2000)


def mode_frequency_hz(mode: int, diameter_mm: Numbers) -> Numbers:
    """Return the frequency of a drop's oscillation in a shape mode (2, 3, ...).

    References:
        Rayleigh, "On the capillary phenomena of jets", 1879:
        w_n^2 = n (n - 1) (n + 2) sigma / (rho r^3).
    """
    stiffness = mode * (mode - 1) * (mode + 2) * SURFACE_TENSION_N_PER_M
    radius_m = np.asarray(diameter_mm) / 2000
    return np.sqrt(stiffness / (WATER_KG_PER_M3 * radius_m**3)) / (2 * np.pi)


def drops_per_m3(rate_mm_per_h: float, least_mm: float) -> float:
    """Return how many drops above a diameter a cubic metre of rain holds.

    References:
        Marshall and Palmer, "The distribution of raindrops with size", 1948:
        N(D) = 8000 exp(-4.1 R^-0.21 D) per m^3 and mm.
    """
    slope = 4.1 * rate_mm_per_h**-0.21
    return float(8000 / slope * np.exp(-slope * least_mm))


def draw_diameters_mm(
    rng: np.random.Generator, count: int, rate_mm_per_h: float, limits_mm: tuple[float, float]
) -> Numbers:
    """Return drop diameters after Marshall and Palmer, cut to limits."""
    slope = 4.1 * rate_mm_per_h**-0.21
    low, high = np.exp(-slope * np.asarray(limits_mm))
    diameters: Numbers = -np.log(low - rng.random(count) * (low - high)) / slope
    return diameters


def choose_patterns(rng: np.random.Generator, periods: Numbers) -> NDArray[np.int32]:
    """Return a row of `streak_patterns` for each number of periods in the exposure."""
    steps = np.log(PERIODS[1] / PERIODS[0])
    nearest = np.rint(np.log(np.maximum(periods, PERIODS[0]) / PERIODS[0]) / steps)
    row: NDArray[np.int32] = np.minimum(nearest, len(PERIODS) - 1).astype(np.int32)
    variants: NDArray[np.int32] = rng.integers(VARIANTS, size=len(row), dtype=np.int32)
    return row * VARIANTS + variants


@cache
def streak_patterns() -> NDArray[np.float32]:
    """Return (rows, SAMPLES) brightness along streaks, each with maximum 1; the last row is even.

    A drop that falls past the camera is seen with whatever shape it has at each moment, so its
    oscillation is written along the streak. The shape is a sphere with two modes,
    r = r0 (1 + A2 sin(w2 t) P2(cos theta) + A3 sin(w3 t) cos(phi) P31(cos theta)). The highlight
    of a light is as bright as the surface is flat where it mirrors: to first order the Gaussian
    curvature of mode n is (1 + (n - 1) (n + 2) A_n P_n) / r0^2, and the highlight its inverse.

    References:
        Garg and Nayar, "Photorealistic Rendering of Rain Streaks", SIGGRAPH 2006 (the modes).
    """
    rng = np.random.default_rng(2006)
    periods = np.repeat(PERIODS, VARIANTS)[:, None]
    count = len(periods)
    theta, phi = np.arccos(rng.uniform(-1, 1, (count, 1))), rng.uniform(0, 2 * np.pi, (count, 1))
    legendre2 = (3 * np.cos(theta) ** 2 - 1) / 2
    legendre31 = 1.5 * np.sin(theta) * (5 * np.cos(theta) ** 2 - 1)
    phases = 2 * np.pi * rng.random((2, count, 1))
    amplitudes = rng.uniform(0.05, 0.2, (2, count, 1))
    time = 2 * np.pi * periods * (np.arange(SAMPLES) + 0.5) / SAMPLES
    second = 4 * amplitudes[0] * legendre2 * np.sin(time + phases[0])
    third = amplitudes[1] * legendre31 * np.cos(phi) * np.sin(MODE_RATIO * time + phases[1])
    highlight = 1 / np.maximum(1 + second + 10 * third, 1 / CAUSTIC)
    refraction = rng.uniform(0.1, 0.5, (count, 1))
    brightness = refraction + (1 - refraction) * highlight
    brightness /= brightness.max(1, keepdims=True)
    return np.concatenate([brightness, np.ones((1, SAMPLES))]).astype(np.float32)
