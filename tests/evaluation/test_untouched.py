"""The pixels that the weather left alone, and what was done to them."""

import numpy as np
import pytest

from cmudrn.evaluation.metrics import PROTOCOLS, psnr_untouched, score, untouched


def pictures() -> tuple[np.ndarray, np.ndarray]:
    clean = np.full((10, 10, 3), 0.4, np.float32)
    degraded = clean.copy()
    degraded[:5] += 0.3
    degraded[5, :, 0] += 2 / 255  # still left alone
    degraded[6, :, 0] += 3 / 255  # not any more
    return degraded, clean


def test_a_pixel_is_left_alone_within_two_steps_in_every_channel() -> None:
    mask = untouched(*pictures())
    assert mask.sum() == 40 and not mask[:5].any() and not mask[6].any()


def test_only_untouched_pixels_count_and_against_the_input() -> None:
    degraded, clean = pictures()
    restored = degraded.copy()
    restored[:5] = 0
    assert psnr_untouched(restored, clean, degraded) == 100
    restored[7:] += 10 / 255
    expected = 10 * np.log10(255**2 / (100 * 30 / 40))
    assert psnr_untouched(restored, clean, degraded) == pytest.approx(expected, abs=0.01)


def test_no_untouched_pixel_gives_no_number() -> None:
    clean = np.zeros((4, 4, 3), np.float32)
    assert np.isnan(psnr_untouched(clean, clean, clean + 0.5))


def test_the_protocol_sees_the_degraded_picture() -> None:
    degraded, clean = pictures()
    scores = score(degraded, clean, degraded)
    assert scores["psnr_untouched"] == 100 and scores["psnr_rgb8"] < 20
    assert list(scores) == list(PROTOCOLS)
