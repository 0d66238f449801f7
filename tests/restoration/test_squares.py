"""Statistics of squares and frames that move: the compiled functions do what NumPy does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from cmudrn.engines.native.frames import frame_kernels
from cmudrn.engines.native.library import NO_NATIVE
from cmudrn.restoration.alignment import align
from cmudrn.restoration.frame_window import _pixels, _planes
from cmudrn.restoration.squares import box_sums, differences, square_means
from cmudrn.restoration.temporal_fusion import SHARES, Aligned, Head, Layer, fuse, weigh

SIZES = [(1, 1), (3, 5), (16, 24), (33, 47), (7, 300)]
MOTIONS = {
    "across": [[1, 0, 0], [0, 1, -4.7], [0, 0, 1]],
    "down": [[1, 0, 9.4], [0, 1, 0], [0, 0, 1]],
    "whole": [[1, 0, -3], [0, 1, 2], [0, 0, 1]],
    "away": [[1, 0, 500], [0, 1, 0.5], [0, 0, 1]],
    "turn": [[1.004, -0.01, 2.3], [0.01, 1.004, -4.6], [0, 0, 1]],
}


def make_window(shape: tuple[int, int], channels: int = 3, seed: int = 0) -> list[Any]:
    """Return five random frames whose squares differ much or little."""
    rng = np.random.default_rng(seed)
    still = rng.integers(0, 256, (2 * channels, *shape))
    spread = rng.choice([1, 12, 90], shape)
    frames = [still + spread * rng.normal(size=still.shape) for _ in range(5)]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def both_ways(monkeypatch: pytest.MonkeyPatch, function: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what a function makes with the compiled functions and without them."""
    if frame_kernels() is None:
        pytest.skip("the native engine was not built here")
    compiled = function()
    monkeypatch.setenv(NO_NATIVE, "1")
    assert frame_kernels() is None
    return compiled, function()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("takes_raw", "merged"), [(True, False), (True, True), (False, True)])
def test_compiled_fusion_is_that_of_numpy(
    shape: tuple[int, int],
    channels: int,
    takes_raw: bool,
    merged: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window = make_window(shape, channels)

    def work() -> list[Any]:
        means = [square_means(planes) for planes in window]
        apart = differences(window, 3)
        windows = [Aligned(window, means, merged) for merged in (False, True)[: 1 + merged]]
        return [*means, apart, fuse(windows, takes_raw=takes_raw)]

    for one, other in zip(*both_ways(monkeypatch, work), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("repeated", [1, 2])
def test_compiled_alignment_is_that_of_numpy(
    shape: tuple[int, int], motion: str, repeated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes, missing = make_window(shape, 3)[0], make_window(shape, 3 // repeated, seed=1)[1]
    compiled, plain = both_ways(
        monkeypatch, lambda: align(planes, np.array(MOTIONS[motion], float), missing)
    )
    np.testing.assert_array_equal(compiled, plain)


def test_channels_become_planes_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(2).integers(0, 256, (7, 9, 3), np.uint8)
    for planes in both_ways(monkeypatch, lambda: _planes(image, image[:, ::-1])):
        np.testing.assert_array_equal(planes[:3], image.transpose(2, 0, 1))
        np.testing.assert_array_equal(_pixels(planes[3:]), image[:, ::-1])


@pytest.mark.parametrize("isa", ["portable", "avx2", ""])
@pytest.mark.parametrize("shape", SIZES)
def test_compiled_shares_are_those_of_numpy(
    shape: tuple[int, int], isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    layers = [
        Layer(
            rng.normal(0, 500 / inputs**0.5, (outputs, inputs)).astype(np.int16),
            rng.integers(-(2**16), 2**16, outputs, np.int32),
        )
        for inputs, outputs in ((84, 64), (64, 32), (32, 6))
    ]
    head = Head(tuple(layers))
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", isa)
    window = make_window(shape)
    means, apart = [square_means(planes) for planes in window], differences(window, 1)
    compiled, plain = both_ways(monkeypatch, lambda: weigh(means, apart, 1, head, takes_raw=True))
    np.testing.assert_array_equal(compiled, plain)
    np.testing.assert_array_equal(plain.sum(axis=0), SHARES)


@pytest.mark.parametrize("reach", [1, 6])
def test_sums_around_repeat_the_borders(reach: int) -> None:
    planes = np.random.default_rng(3).integers(0, 999, (2, 9, 5), np.int32)
    side = 2 * reach + 1
    for plane, sums in zip(planes, box_sums(planes, reach), strict=True):
        expected = uniform_filter(plane.astype(float), side, mode="nearest") * side**2
        np.testing.assert_allclose(sums, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_differences_of_pixels(dtype: type, channels: int) -> None:
    window = make_window((8, 12), channels)
    ours = [(one / 255 * (1 if dtype is np.float32 else np.iinfo(dtype).max)) for one in window]
    apart = differences([one.astype(dtype) for one in ours], 1)
    expected = list[Any]()
    for cut in (slice(channels, None), slice(channels)):
        values = np.sort(np.stack([one[cut] for one in window]).astype(float), axis=0)
        below = values[2] - window[1][cut]
        expected += [*np.diff(values, axis=0)[:3], below.clip(0), (-below).clip(0)]
    now = window[1][channels:].astype(float)
    expected += [np.abs(now - window[n][channels:]) for n in (0, 2, 3, 4)]
    means = [one.reshape(channels, 2, 4, 3, 4).mean((0, 2, 4)) for one in expected]
    np.testing.assert_allclose(apart, means, atol=0.02)
