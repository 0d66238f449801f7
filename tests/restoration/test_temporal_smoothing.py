"""Smoothed dehazing neither flickers nor lags behind a scene change."""

from __future__ import annotations

import numpy as np

from cmudrn.restoration.dehazing import VeilCorrection
from cmudrn.restoration.temporal_smoothing import VeilSmoother

AIR = np.array([0.9, 0.85, 0.95], np.float32)


def judged(thickness: float, noise: float, rng: np.random.Generator) -> VeilCorrection:
    spread = thickness + rng.normal(0, noise, (8, 8))
    return VeilCorrection(np.exp(spread).astype(np.float32), AIR)


def test_flicker_is_damped_around_the_mean() -> None:
    rng, smooth = np.random.default_rng(0), VeilSmoother()
    before = [judged(0.4, 0.05, rng) for _ in range(200)]
    after = [smooth(veil) for veil in before]
    raw, held = (np.log([veil.gain for veil in veils if veil]) for veils in (before, after))
    assert np.diff(held[50:], axis=0).std() < 0.12 * np.diff(raw, axis=0).std()
    np.testing.assert_allclose(held[50:].mean(), 0.4, atol=0.01)
    assert after[-1] is not None
    np.testing.assert_allclose(after[-1].airlight, AIR, atol=1e-6)


def test_the_first_frame_is_as_it_was_judged() -> None:
    veil = judged(0.3, 0.1, np.random.default_rng(1))
    first = VeilSmoother()(veil)
    assert first is not None
    np.testing.assert_allclose(first.gain, veil.gain, rtol=1e-6)


def test_another_scene_begins_anew() -> None:
    rng, smooth = np.random.default_rng(2), VeilSmoother()
    for _ in range(20):
        smooth(judged(0.6, 0.02, rng))
    clear = smooth(VeilCorrection(np.ones((8, 8), np.float32), AIR))
    assert clear is not None and clear.clear


def test_it_goes_on_from_its_state() -> None:
    frames = [judged(0.4, 0.05, np.random.default_rng(k)) for k in range(9)]
    whole, first = VeilSmoother(), VeilSmoother()
    expected = [whole(veil) for veil in frames][-1]
    for veil in frames[:4]:
        first(veil)
    second = VeilSmoother(first.state)
    found = [second(veil) for veil in frames[4:]][-1]
    assert expected is not None and found is not None
    assert np.array_equal(found.gain, expected.gain)


def test_a_model_without_a_context_branch_has_no_veil() -> None:
    smooth = VeilSmoother()
    assert smooth(None) is None and not smooth.state.size
