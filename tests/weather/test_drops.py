"""The physics of drops against figures from the literature and numerical integration."""

import numpy as np
import pytest

from cmudrn.weather.drops import (
    PERIODS,
    VARIANTS,
    choose_patterns,
    draw_diameters_mm,
    drops_per_m3,
    fall_speed_m_per_s,
    mode_frequency_hz,
    streak_patterns,
)


def test_a_drop_of_one_point_six_millimetres() -> None:
    """Garg and Nayar's drop: 5.7 m/s; Rayleigh's modes at 169 and 327 Hz."""
    diameter_mm = np.array([1.6])
    assert fall_speed_m_per_s(diameter_mm) == pytest.approx(5.66, abs=0.01)
    assert mode_frequency_hz(2, diameter_mm) == pytest.approx(169, abs=2)
    assert mode_frequency_hz(3, diameter_mm) == pytest.approx(327, abs=3)


def test_drops_per_volume_is_the_integral_of_marshall_and_palmer() -> None:
    diameter_mm = np.linspace(1, 40, 400_001)
    density = 8000 * np.exp(-4.1 * 30**-0.21 * diameter_mm)
    assert drops_per_m3(30, 1) == pytest.approx(np.trapezoid(density, diameter_mm), rel=1e-4)


def test_diameters_follow_the_law_between_their_limits() -> None:
    drawn = draw_diameters_mm(np.random.default_rng(0), 200_000, 30, (0.8, 4))
    assert drawn.min() >= 0.8 and drawn.max() <= 4
    slope = 4.1 * 30**-0.21
    low, high = np.exp(-slope * 0.8), np.exp(-slope * 4)
    below_two = (low - np.exp(-slope * 2)) / (low - high)
    assert (drawn < 2).mean() == pytest.approx(below_two, abs=0.005)


def test_patterns_are_brightness_and_chosen_by_their_periods() -> None:
    patterns = streak_patterns()
    assert np.allclose(patterns.max(1), 1)
    assert patterns.min() > 0
    assert np.all(patterns[-1] == 1)
    chosen = choose_patterns(np.random.default_rng(0), np.array([0.01, PERIODS[5], 1e3]))
    assert (chosen // VARIANTS).tolist() == [0, 5, len(PERIODS) - 1]
