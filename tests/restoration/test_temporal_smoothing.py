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
    rng, steady = np.random.default_rng(0), VeilSmoother()
    before = [judged(0.4, 0.05, rng) for _ in range(200)]
    after = [steady(lift) for lift in before]
    raw, held = (np.log([lift.gain for lift in lifts if lift]) for lifts in (before, after))
    assert np.diff(held[50:], axis=0).std() < 0.12 * np.diff(raw, axis=0).std()
    np.testing.assert_allclose(held[50:].mean(), 0.4, atol=0.01)
    assert after[-1] is not None
    np.testing.assert_allclose(after[-1].airlight, AIR, atol=1e-6)


def test_the_first_frame_is_as_it_was_judged() -> None:
    lift = judged(0.3, 0.1, np.random.default_rng(1))
    first = VeilSmoother()(lift)
    assert first is not None
    np.testing.assert_allclose(first.gain, lift.gain, rtol=1e-6)


def test_another_scene_begins_anew() -> None:
    rng, steady = np.random.default_rng(2), VeilSmoother()
    for _ in range(20):
        steady(judged(0.6, 0.02, rng))
    clear = steady(VeilCorrection(np.ones((8, 8), np.float32), AIR))
    assert clear is not None and clear.clear


def test_it_goes_on_from_its_state() -> None:
    frames = [judged(0.4, 0.05, np.random.default_rng(k)) for k in range(9)]
    whole, first = VeilSmoother(), VeilSmoother()
    expected = [whole(lift) for lift in frames][-1]
    for lift in frames[:4]:
        first(lift)
    second = VeilSmoother(first.state)
    found = [second(lift) for lift in frames[4:]][-1]
    assert expected is not None and found is not None
    assert np.array_equal(found.gain, expected.gain)


def test_a_model_without_a_context_branch_has_no_veil() -> None:
    steady = VeilSmoother()
    assert steady(None) is None and not steady.state.size
