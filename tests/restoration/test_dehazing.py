"""The veil estimator and its correction, without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cmudrn
from cmudrn.errors import InvalidSettingError
from cmudrn.image.resampling import SIDE, enlarge, make_thumbnail
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.restoration.dehazing import MAX_BLACKER, VeilCorrection, VeilEstimator
from cmudrn.restoration.settings import TOLD_OF_HAZE, Sequence
from cmudrn.weather.presets import WEATHERS

RAMP = np.linspace(1.2, 1.8, 64, dtype=np.float32).reshape(8, 8)


def whole(shape: tuple[int, int]) -> tuple[slice, slice]:
    return slice(0, shape[0]), slice(0, shape[1])


@pytest.mark.parametrize("shape", [(256, 384), (300, 201), (128, 128), (7, 500), (1, 1)])
def test_a_thumbnail_has_the_means_of_its_cells(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    thumbnail = make_thumbnail(picture)
    for row, column in ((0, 0), (17, 99), (SIDE - 1, SIDE - 1)):
        rows, columns = (
            slice(place * side // SIDE, -(-(place + 1) * side // SIDE))
            for place, side in zip((row, column), shape, strict=True)
        )
        expected = picture[rows, columns].mean((0, 1)) / 255
        np.testing.assert_allclose(thumbnail[row, column], expected, atol=1e-5)


def test_thumbnails_of_all_pixel_types_are_alike() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (200, 150), dtype=np.uint8)
    eight = make_thumbnail(picture)
    sixteen = make_thumbnail(picture.astype(np.uint16) * 257)
    floats = make_thumbnail(np.repeat((picture / np.float32(255))[..., None], 3, 2))
    np.testing.assert_allclose(sixteen, eight, atol=1e-6)
    np.testing.assert_allclose(floats, eight, atol=1e-6)


def test_a_window_of_an_enlarged_grid_is_a_part_of_the_whole() -> None:
    shape = (211, 160)
    large = enlarge(RAMP, whole(shape), shape)
    part = (slice(50, 121), slice(3, 99))
    assert np.array_equal(enlarge(RAMP, part, shape), large[part])
    assert large.min() == RAMP[0, 0] and large.max() == RAMP[-1, -1]
    middle = RAMP[3:5, 3:5].mean()  # the middle of the picture lies between four cells
    assert large[104:107, 79:81].mean() == pytest.approx(middle, abs=1e-3)


def test_lifting_undoes_a_veil() -> None:
    shape = (90, 120)
    clean = np.random.default_rng(2).random((*shape, 3), dtype=np.float32)
    airlight = np.array([0.9, 0.85, 0.95], np.float32)
    t = 1 / enlarge(RAMP, whole(shape), shape)[..., None]
    veiled = t * clean + (1 - t) * airlight
    lifted = VeilCorrection(RAMP, airlight)(veiled.astype(np.float32), whole(shape), shape)
    np.testing.assert_allclose(lifted, clean, atol=1e-5)


def test_clear_air_changes_nothing() -> None:
    clear = VeilCorrection(np.full((8, 8), 1.002, np.float32), np.ones(3, np.float32))
    window = np.random.default_rng(3).random((20, 30, 3), dtype=np.float32)
    assert clear.clear
    assert clear(window, whole((20, 30)), (20, 30)) is window


@pytest.mark.parametrize("black", [0.0, 0.008, 0.02, 0.5])
def test_no_more_of_a_veil_is_taken_off_than_can_lie_over_black(black: float) -> None:
    scene = np.random.default_rng(6).random((SIDE, SIDE, 3), dtype=np.float32)
    veiled = (scene / 1.5 + (1 - 1 / 1.5)).astype(np.float32)
    veiled[: round(black * SIDE)] = 0.05
    veil = VeilCorrection(np.full((8, 8), 1.5, np.float32), np.ones(3, np.float32))
    assert veil.share_blacker(veiled) == pytest.approx(round(black * SIDE) / SIDE)
    bounded = veil.bounded(veiled)
    assert bounded.share_blacker(veiled) <= MAX_BLACKER
    if black <= MAX_BLACKER:
        assert bounded is veil
    else:  # 0.05 comes out at -0.02 where 1 / t is 1.02 / 0.95
        assert 1.06 < bounded.gain.max() <= 1.02 / 0.95 + 1e-3


def test_the_veil_of_a_picture_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = VeilEstimator({})
    veil = VeilCorrection(RAMP, np.ones(3, np.float32))
    monkeypatch.setattr(VeilEstimator, "estimate_veil", lambda *_: veil)
    assert estimator(np.full((80, 90, 3), 200, np.uint8)).gain.max() > 1.5
    assert estimator(np.zeros((80, 90, 3), np.uint8)).gain.max() < 1.03


def test_haze_is_taken_off_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    sixteenths = np.random.default_rng(4).integers(0, 12, (12, 16, 3), np.uint8).repeat(16, 0)
    hazy = (9 * sixteenths.repeat(16, 1) + 130).astype(np.uint8)
    hazy[::8, ::8] = 250  # flakes
    veil = VeilCorrection(np.full((8, 8), 1.5, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(restorer, "estimate_veil", lambda _: veil)
    plain = restore_image(restorer, hazy, RestoreSettings(dehazing=False))
    clear = restore_image(restorer, hazy, RestoreSettings(dehazing=True))
    assert np.array_equal(restorer(hazy, dehaze=False), plain.pixels)
    assert np.array_equal(restorer(hazy, dehaze=True), clear.pixels)
    assert clear.pixels.std() > 1.3 * plain.pixels.std()
    assert clear.dehazed and TOLD_OF_HAZE in clear.notes
    assert not plain.dehazed and TOLD_OF_HAZE not in plain.notes


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "gain, snows, dehazed",
    [(1.5, True, True), (1.5, False, False), (1.08, True, False), (1.0, True, False)],
    ids=["dense", "the scene's own", "thin", "none"],
)
def test_haze_is_taken_off_by_itself_where_much_weather_falls(
    gain: float, snows: bool, dehazed: bool, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    scene = np.full((192, 256, 3), 0.5, np.float32)
    snowfall = WEATHERS["snow"](scene, np.random.default_rng(2)).degraded
    image: NDArray[Any] = np.rint(255 * (snowfall if snows else scene)).astype(kind)
    if kind == np.uint16:
        image *= 257
    elif kind == np.float32:
        image /= 255
    veil = VeilCorrection(np.full((8, 8), gain, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(restorer, "estimate_veil", lambda _: veil)
    done = restore_image(restorer, image)
    assert done.dehazed is dehazed
    asked = restore_image(restorer, image, RestoreSettings(dehazing=dehazed))
    assert np.array_equal(done.pixels, asked.pixels)
    layered = restore_image(restorer, image, RestoreSettings(layers=True))
    assert np.array_equal(layered.pixels, done.pixels)
    frame = restore_image(restorer, image, sequence=Sequence())  # of a clip: not by itself
    assert not frame.dehazed
    plain = restore_image(restorer, image, RestoreSettings(dehazing=False))
    assert np.array_equal(frame.pixels, plain.pixels)


def test_haze_has_no_part_in_the_weather_score(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    hazy = np.full((192, 256, 3), 0.5, np.float32)
    hazy = WEATHERS["snow"](hazy, np.random.default_rng(2)).degraded
    veil = VeilCorrection(np.full((8, 8), 1.5, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(restorer, "estimate_veil", lambda _: veil)
    scores = [
        restore_image(restorer, hazy, RestoreSettings(score=True, dehazing=asked), sequence=frames)
        for asked, frames in ((False, None), (True, None), (None, None), (True, Sequence()))
    ]
    assert scores[0].weather is not None
    assert all(one.weather == scores[0].weather for one in scores)
    assert np.array_equal(scores[1].pixels, scores[2].pixels)
    assert not np.array_equal(scores[0].pixels, scores[1].pixels)


@pytest.mark.parametrize(
    "settings, passes",
    [
        (RestoreSettings(), 2),
        (RestoreSettings(dehazing=True), 1),
        (RestoreSettings(dehazing=True, score=True), 2),
        (RestoreSettings(dehazing=False, score=True), 1),
    ],
)
def test_progress_is_told_over_all_passes_and_stops_each(
    settings: RestoreSettings, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    restorer.tile_pixels = 300 * 300
    grey = np.full((320, 400, 3), 128, np.uint8)
    veil = VeilCorrection(np.full((8, 8), 1.5, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(restorer, "estimate_veil", lambda _: veil)
    monkeypatch.setattr("cmudrn.restoration.restorer.MUCH_WEATHER", 0)
    told: list[tuple[int, int]] = []
    restore_image(restorer, grey, settings, on_tile=lambda *count: told.append(count))
    count = len(told)
    assert told == [(n, count) for n in range(1, count + 1)] and count % passes == 0

    def stop_at(last: int) -> Callable[[int, int], None]:
        def stop(done: int, _: int) -> None:
            if done == last:
                raise InterruptedError

        return stop

    for last in range(1, count + 1):
        with pytest.raises(InterruptedError):
            restore_image(restorer, grey, settings, on_tile=stop_at(last))


def test_at_strength_nought_nothing_is_said_of_haze(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = cmudrn.load("cmudrn", engine="onnx", threads=1)
    veil = VeilCorrection(np.full((8, 8), 1.5, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(restorer, "estimate_veil", lambda _: veil)
    grey = np.full((64, 64, 3), 128, np.uint8)
    done = restore_image(restorer, grey, RestoreSettings(0.0, score=True, dehazing=True))
    assert np.array_equal(done.pixels, grey) and not done.notes


def test_a_model_without_a_veil_estimator_estimates_no_veil() -> None:
    grey = np.full((20, 30, 3), 128, np.uint8)
    without = cmudrn.load("cmudrn-25k", engine="onnx")
    assert without.estimate_veil(grey) is None
    with pytest.raises(InvalidSettingError, match="The model cmudrn-25k has no veil estimator"):
        without(grey, dehaze=True)
    assert cmudrn.load("cmudrn", engine="onnx").estimate_veil(grey) is not None
