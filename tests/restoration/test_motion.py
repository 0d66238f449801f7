"""Motion of the camera where weather hides much of the scene."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cmudrn.restoration.motion import find_motion, make_thumbnail


def smooth(
    rng: np.random.Generator, sigma: float | tuple[float, float], spread: float
) -> NDArray[np.float64]:
    plane: NDArray[np.float64] = gaussian_filter(rng.normal(0, 1, (64, 96)), sigma)
    return spread * plane / plane.std()


def test_weather_seldom_moves_a_camera_that_stands_still() -> None:
    moved = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = 128 + smooth(rng, 3, 12)
        one, other = (
            make_thumbnail((scene + smooth(rng, (4, 1), 10)).astype(np.float32)) for _ in "ab"
        )
        motion = find_motion(one, other)
        moved += motion is None or not np.array_equal(motion, np.eye(3))
    assert moved <= 6


def test_a_shift_is_found_through_weather() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = 128 + smooth(rng, 3, 20)
        planes = scene[:, 4:], scene[:, :-4]  # what is at x in one is at x + 4 in the other
        one, other = (
            make_thumbnail((plane + smooth(rng, (4, 1), 5)[:, 4:]).astype(np.float32))
            for plane in planes
        )
        motion = find_motion(one, other)
        assert motion is not None
        np.testing.assert_allclose(motion[:2, 2], (0, 4), atol=0.8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 40), (8, 8), (11, 11), (12, 13)])
def test_frames_of_few_pixels_have_a_motion_or_none(size: tuple[int, int]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        one = (128 + 30 * rng.normal(size=size)).astype(np.float32)
        changed = (one + 5 * rng.normal(size=size)).astype(np.float32)
        for other in (one, changed, np.roll(changed, 1, 1)):
            motion = find_motion(make_thumbnail(one), make_thumbnail(other))
            assert motion is None or np.isfinite(motion).all()
