"""Frames restored with their neighbours in time: weather goes, what moves and stands stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter

import cmudrn
from cmudrn.errors import InvalidSettingError
from cmudrn.image import Pixels
from cmudrn.restoration import FrameRestorer, Restorer, RestoreSettings
from cmudrn.restoration.alignment import align
from cmudrn.restoration.dehazing import VeilCorrection
from cmudrn.restoration.frame_window import FrameWindow, merge
from cmudrn.restoration.motion import Thumbnail, find_motion, make_thumbnail
from cmudrn.restoration.squares import square_means
from cmudrn.restoration.temporal_fusion import candidates, mix

SHAPE = (96, 128)


def texture(shape: tuple[int, int] = SHAPE, seed: int = 0) -> Pixels:
    """Return a random picture that is smooth enough to be moved by parts of a pixel."""
    rng = np.random.default_rng(seed)
    noise = gaussian_filter(rng.normal(size=(*shape, 1)), (2, 2, 0))
    tint = gaussian_filter(rng.normal(size=(*shape, 3)), (9, 9, 0))
    values = 100 + 35 * noise / noise.std() + 12 * tint / tint.std()
    return np.clip(values, 0, 220).astype(np.uint8)


def snow(still: Pixels, seed: int) -> Pixels:
    """Return a frame with flakes of three pixels, half of them transparent."""
    rng, frame = np.random.default_rng(seed), still.astype(float)
    rows, columns = (rng.integers(0, side - 3, 50) for side in still.shape[:2])
    for number, (y, x) in enumerate(zip(rows, columns, strict=True)):
        area = frame[y : y + 3, x : x + 3]
        area += (0.9 if number % 2 else 0.5) * (255 - area)
    return frame.astype(np.uint8)


def after_network(frame: Pixels, clean: Pixels) -> Pixels:
    """Return a frame of which a network took away two thirds of the weather."""
    return (clean + (frame.astype(float) - clean) / 3).astype(frame.dtype)


def fused(frames: list[Pixels], restored: list[Pixels], lookahead: int) -> list[Pixels]:
    """Return what a window makes of frames; the restored ones where it makes nothing."""
    window = FrameWindow(lookahead)
    done = [item for pair in zip(frames, restored, strict=True) for item in window.put(*pair)]
    done += window.flush()
    return [two if one is None else one for one, two in zip(done, restored, strict=True)]


def run(
    restorer: Restorer, frames: list[Pixels], lookahead: int | None, **wanted: object
) -> list[Pixels]:
    """Return the restored frames."""
    settings = RestoreSettings(**wanted)  # type: ignore[arg-type]
    restored = FrameRestorer(restorer, settings, lookahead=lookahead)
    done = [item for frame in frames for item in restored.put(frame)]
    return [item.image.pixels for item in [*done, *restored.flush()]]


def error(one: Pixels, other: Pixels) -> float:
    return float(np.mean((one.astype(float) - other) ** 2))


@pytest.fixture
def identity(identity_model: Path) -> Restorer:
    return cmudrn.load(identity_model, threads=1)


@pytest.mark.parametrize("lookahead", [0, 1, 4])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "grey"])
def test_flakes_before_a_still_scene_go(lookahead: int, kind: str) -> None:
    still = texture()
    if kind == "grey":
        still = np.ascontiguousarray(still[..., 1])
    white = {"uint16": 65535.0, "float32": 1.0}.get(kind, 255.0)
    dtype = np.dtype("uint8" if kind == "grey" else kind)
    eight_bit = [snow(still, seed) for seed in range(10)]
    restored = [after_network(frame, still) for frame in eight_bit]
    scaled = [[(one / 255 * white).astype(dtype) for one in each] for each in (eight_bit, restored)]
    results = fused(scaled[0], scaled[1], lookahead)
    assert {(result.dtype, result.shape) for result in results} == {(dtype, still.shape)}
    for number in range(4, 10):
        assert error(results[number] / white * 255, still) < error(restored[number], still) / 3


@pytest.mark.parametrize("grey", [False, True])
def test_raw_frames_are_fused_without_the_veil_that_was_taken_off(
    grey: bool, identity: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    veil = VeilCorrection(np.linspace(1, 1.5, 64, dtype=np.float32).reshape(8, 8), np.ones(3, "f4"))
    monkeypatch.setattr(identity, "estimate_veil", lambda _: veil)
    seen: list[tuple[Pixels, Pixels]] = []

    def put(_: FrameWindow, raw: Pixels, restored: Pixels) -> list[Pixels | None]:
        seen.append((raw, restored))
        return []

    monkeypatch.setattr(FrameWindow, "put", put)
    frame = texture()[..., 1] if grey else texture()
    FrameRestorer(identity, RestoreSettings(dehazing=True), lookahead=2).put(frame)
    ((raw, restored),) = seen
    assert np.abs(restored.astype(int) - frame).max() > 20
    assert np.abs(raw.astype(int) - restored).max() <= 1


@pytest.mark.parametrize("shift", [(0.0, 3.0), (1.4, -2.3), (9.0, 14.0)])
def test_a_camera_that_moves_loses_the_flakes_and_no_detail(shift: tuple[float, float]) -> None:
    wide = texture((240, 320))
    clean = []
    for number in range(5):
        at = (60 + shift[0] * number, 80 + shift[1] * number, 0)
        moved = affine_transform(wide.astype(float), np.ones(3), at, (*SHAPE, 3), order=3)
        clean.append(np.clip(moved, 0, 255).astype(np.uint8))
    frames = [snow(one, seed) for seed, one in enumerate(clean)]
    restored = [after_network(*pair) for pair in zip(frames, clean, strict=True)]
    result = fused(frames, restored, 2)[2]
    assert error(result, clean[2]) < error(restored[2], clean[2]) / 2


@pytest.mark.parametrize("colour", [(250, 250, 250), (10, 10, 10), (200, 60, 30)])
@pytest.mark.parametrize(("count", "speed"), [(5, 17), (9, 17), (9, 3), (9, 12), (9, 33)])
def test_nothing_that_moves_leaves_a_ghost(
    colour: tuple[int, int, int], count: int, speed: int, identity: Restorer
) -> None:
    frames = []
    for number in range(count):
        frame, left = texture(), 42 + speed * (number - count // 2)
        frame[30:62, max(0, left) : max(0, left + 32)] = colour
        frames.append(frame)
    middle = count // 2
    result = run(identity, frames, middle)[middle]
    assert np.abs(result.astype(int) - frames[middle]).mean() < 2
    inside = (slice(34, 58), slice(46, 70))
    assert np.abs(result[inside].astype(int) - frames[middle][inside]).max() < 16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_two_frames_are_merged(dtype: type) -> None:
    white = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    rng = np.random.default_rng(8)
    one, other = (white * rng.uniform(0, 1, (2, 6, 4, 5))).astype(dtype)
    merged = merge(one, other)
    assert merged.dtype == dtype
    np.testing.assert_array_equal(merged[:3], np.minimum(one, other)[:3])
    mean = (one[3:].astype(float) + other[3:]) / 2
    assert np.abs(merged[3:] - mean).max() <= (1e-6 if dtype is np.float32 else 0.5)


def test_a_strength_of_zero_is_the_input(identity: Restorer) -> None:
    frames = [snow(texture(), seed) for seed in range(6)]
    for one, other in zip(run(identity, frames, 2, strength=0.0), frames, strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_the_strength_lies_halfway(identity: Restorer) -> None:
    frames = [snow(texture(), seed) for seed in range(6)]
    whole, half = run(identity, frames, 0), run(identity, frames, 0, strength=0.5)
    between = (whole[5].astype(float) + frames[5]) / 2
    assert np.abs(between - half[5]).max() <= 0.51


def test_the_layer_of_the_fusion_is_what_went(identity: Restorer) -> None:
    frames = [snow(texture(), seed) for seed in range(6)]
    restored = FrameRestorer(identity, RestoreSettings(layers=True), lookahead=0)
    last = [restored.put(frame) for frame in frames][-1][0].image
    removed = (frames[-1].astype(float) - last.pixels) / 255
    assert np.abs(removed).max() > 0.3
    np.testing.assert_allclose(last.residuals["fused"], removed, atol=1e-6)


@pytest.mark.parametrize("lookahead", [0, 4])
def test_frames_beyond_a_cut_are_not_looked_at(lookahead: int, identity: Restorer) -> None:
    first, second = texture(seed=3), texture(seed=4) // 2 + 120
    frames = [first] * 7 + [second] * 7
    for one, other in zip(run(identity, frames, lookahead), frames, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_a_frame_of_another_size_begins_a_new_scene(identity: Restorer) -> None:
    frames = [texture(), texture(), texture((60, 50)), texture((60, 50))]
    results = run(identity, frames, 2)
    for one, other in zip(results, frames, strict=True):
        np.testing.assert_allclose(one, other, atol=1)


@pytest.mark.parametrize("begin", [8, 9])
def test_a_run_resumes_at_any_frame(begin: int, darkening_model: Path) -> None:
    restorer = cmudrn.load(darkening_model, threads=1)
    frames = [snow(texture(), seed) for seed in range(14)]
    first = FrameRestorer(restorer, lookahead=4)
    done = [item for frame in frames for item in first.put(frame)]
    done += first.flush()
    resumed = FrameRestorer(restorer, lookahead=4, state=done[begin - 1].state)
    again = [item for frame in frames[begin - resumed.context :] for item in resumed.put(frame)]
    again += resumed.flush()
    for one, other in zip(again[resumed.context :], done[begin:], strict=True):
        np.testing.assert_array_equal(one.image.pixels, other.image.pixels)


def test_a_lookahead_that_there_is_not_is_refused(identity: Restorer) -> None:
    with pytest.raises(InvalidSettingError, match="lookahead"):
        FrameRestorer(identity, lookahead=5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (5, 400), (33, 47)])
def test_frames_of_any_size(shape: tuple[int, int], identity: Restorer) -> None:
    frames = [np.full((*shape, 3), 90 + number, np.uint8) for number in range(5)]
    assert [one.shape for one in run(identity, frames, 2)] == [(*shape, 3)] * 5


def test_candidates_are_the_sorted_values() -> None:
    rng = np.random.default_rng(6)
    window = [rng.integers(0, 256, (6, 7, 9), np.uint8) for _ in range(5)]
    now, *ordered = candidates(window, 3)
    expected = np.sort(np.stack(window), axis=0)
    np.testing.assert_array_equal(now, window[3][3:])
    np.testing.assert_array_equal(ordered[:2], expected[:2, :3])
    np.testing.assert_array_equal(ordered[2:], expected[:3, 3:])
    restored = candidates(window, 3, takes_raw=False)[1:]
    np.testing.assert_array_equal(restored, expected[[2, 3, 0, 1, 2], 3:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_means_of_squares(dtype: type, channels: int) -> None:
    rng = np.random.default_rng(7)
    planes: Pixels = rng.integers(0, 256, (2 * channels, 10, 13)).astype(dtype)
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    padded = np.pad(planes, ((0, 0), (0, 2), (0, 3)), mode="edge") * (255 / white)
    means = padded.reshape(2 * channels, 3, 4, 4, 4).mean(axis=(2, 4))
    weights = np.array([1, 2, 1]) / 4 if channels == 3 else np.ones(1)
    raw, restored = (np.tensordot(weights, m, 1) for m in (means[:channels], means[channels:]))
    expected = [raw, restored, means[channels] - means[-1]]
    np.testing.assert_allclose(square_means(planes), expected, rtol=1e-5, atol=1e-3)


def test_weights_are_those_of_the_squares() -> None:
    images = [np.full((3, 9, 6), value, np.uint8) for value in (0, 100)]
    weight = np.array([[0.0, 0.1], [0.5, 0.2], [1.0, 0.3]], np.float32)
    mixed = mix(images, np.stack([1 - weight, weight]))
    expected = np.repeat(np.repeat(100 * weight, 4, axis=0), 4, axis=1)[:9, :6]
    np.testing.assert_allclose(mixed, np.broadcast_to(expected, mixed.shape), atol=0.6)


@settings(deadline=None, max_examples=12)
@given(
    down=st.floats(-12, 12),
    across=st.floats(-12, 12),
    turn=st.floats(-0.02, 0.02),
    zoom=st.floats(-0.02, 0.02),
)
def test_the_motion_of_a_camera_is_found(
    down: float, across: float, turn: float, zoom: float
) -> None:
    wide = gaussian_filter(np.random.default_rng(8).normal(size=(300, 360)), 3)
    wide = (110 + 40 * wide / wide.std()).astype(np.float32)
    linear = np.array([[1 + zoom, -turn], [turn, 1 + zoom]])
    middle = np.array([99.5, 129.5])
    one = wide[50:250, 50:310]
    # A point p of `other` lies at linear (p - middle) + middle + shift in `one`.
    offset = middle - linear @ middle + (down, across)
    other = affine_transform(wide, linear, offset + 50 - linear @ (0, 0), (200, 260), order=3)
    found = find_motion(make_thumbnail(other), make_thumbnail(one))
    assert found is not None
    corners = np.array([[y, x, 1.0] for y in (0, 199) for x in (0, 259)]).T
    expected = np.column_stack([linear, offset]) @ corners
    assert np.abs((found @ corners)[:2] - expected).max() < 0.25


def test_noise_does_not_shake_a_camera_that_stands() -> None:
    rng = np.random.default_rng(9)
    still = texture((200, 260)).astype(np.float32).mean(axis=2)
    one, other = (
        Thumbnail(still + rng.normal(0, 3, still.shape).astype(np.float32), 1) for _ in "ab"
    )
    np.testing.assert_array_equal(find_motion(one, other), np.eye(3))


def test_alignment_agrees_with_scipy() -> None:
    planes = texture((120, 150)).transpose(2, 0, 1).copy()
    motion = np.array([[1.004, -0.01, 2.3], [0.01, 1.004, -4.6], [0, 0, 1]])
    ours = align(planes, motion, np.zeros_like(planes))
    for plane, result in zip(planes, ours, strict=True):
        expected = affine_transform(plane.astype(float), motion[:2, :2], motion[:2, 2], order=3)
        inner = (slice(12, -12), slice(12, -12))
        assert np.abs(result[inner] - expected[inner]).mean() < 1.5
        assert np.abs(result[inner] - expected[inner]).max() < 12


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.7), (5.5, 0.0), (-3.4, 8.8)])
@pytest.mark.parametrize("turn", [0.0, 0.01])
def test_eight_bits_are_aligned_as_floats_are(shift: tuple[float, float], turn: float) -> None:
    planes = np.ascontiguousarray(snow(texture(), 1).transpose(2, 0, 1))
    motion = np.array([[1, -turn, shift[0]], [turn, 1, shift[1]], [0, 0, 1]])
    whole = align(planes, motion, np.zeros_like(planes))
    exact = align(planes.astype(np.float32), motion, np.zeros(planes.shape, np.float32))
    apart = np.abs(whole - np.clip(exact, 0, 255))
    assert apart.max() <= 5  # of weights in 64ths, at edges of flakes
    assert apart.mean() < 0.4


@pytest.mark.parametrize("value", [0, 255])
def test_even_areas_stay_what_they_are(value: int) -> None:
    planes = np.full((2, 40, 50), value, np.uint8)
    motion = np.array([[1.003, -0.02, 3.3], [0.02, 1.003, -4.7], [0, 0, 1]])
    np.testing.assert_array_equal(align(planes, motion, planes), planes)
    weights = np.random.default_rng(0).dirichlet(np.full(6, 0.3), (10, 13)).transpose(2, 0, 1)
    np.testing.assert_array_equal(mix([planes] * 6, weights.astype(np.float32)), planes)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_a_frame_does_not_show_is_the_current_one(channels: int) -> None:
    planes = np.full((2, 40, 50), 7, np.uint8)
    missing = np.full((channels, 40, 50), 9, np.uint8)
    motion = np.array([[1, 0, -5.0], [0, 1, 8.0], [0, 0, 1]])
    moved = align(planes, motion, missing)
    assert (moved[:, :5] == 9).all()
    assert (moved[:, :, -8:] == 9).all()
    assert (moved[:, 5:, :-8] == 7).all()


def test_what_is_in_every_frame_does_not_come_back() -> None:
    still = texture()
    frames = [snow(still, seed) for seed in range(5)]
    hazy = [(0.6 * frame + 0.4 * 230).astype(np.uint8) for frame in frames]
    restored = [after_network(frame, still) for frame in frames]
    result = fused(hazy, restored, 2)[2]
    assert abs(float(np.mean(result)) - still.mean()) < 3
    assert error(result, still) < error(restored[2], still)
