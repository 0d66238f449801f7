"""The restorer: tiled equals whole, types are kept, strength interpolates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_networks import random_network, record

import cmudrn
from cmudrn import CmudrnError, Restorer
from cmudrn.engines import open_engine
from cmudrn.engines.native import NativeEngine, instruction_sets
from cmudrn.image import Pixels, to_batch
from cmudrn.models import ModelInfo
from cmudrn.models.onnx_writer import write_onnx
from cmudrn.restoration import RestoredImage, RestoreSettings, pieces, restore_image

KINDS = [np.uint8, np.uint16, np.float32]


def layered(restorer: Restorer, image: Pixels) -> RestoredImage:
    """Return an image restored, with its layers."""
    return restore_image(restorer, image, RestoreSettings(layers=True))


@pytest.fixture(scope="module")
def engine(tiny_model: Path):
    return open_engine(tiny_model, threads=1)


def make_array(seed: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def test_residuals_are_told_piece_by_piece_in_place_of_layers(engine) -> None:
    image = make_array(0, (70, 90, 3), np.uint8)
    restorer = Restorer(engine, tile_pixels=4000)
    told = {name: np.full((70, 90, 3), np.nan) for name in (*engine.info.tasks, "fused")}

    def on_residuals(area, residuals) -> None:
        for name, residual in residuals.items():
            assert np.isnan(told[name][area]).all()
            told[name][area] = residual

    done = restore_image(restorer, image, on_residuals=on_residuals)
    expected = layered(restorer, image)
    assert not done.residuals and not done.branches
    np.testing.assert_array_equal(done.pixels, expected.pixels)
    for name, residual in expected.residuals.items():
        np.testing.assert_array_equal(told[name], residual)


@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    tile_pixels=st.integers(1, 10_000),
    stages=st.integers(1, 2),
    recursions=st.integers(1, 2),
)
@settings(max_examples=40, deadline=None)
def test_tiled_equals_whole(
    far_sighted_model, height, width, tile_pixels, stages, recursions
) -> None:
    engine = open_engine(far_sighted_model, threads=1)
    array = make_array(height * width, (height, width, 3), np.float32) / 4
    whole = Restorer(engine, tile_pixels=height * width)
    tiled = Restorer(engine, tile_pixels=tile_pixels)
    expected = restore_image(whole, array, RestoreSettings(1.0, stages, recursions, layers=True))
    found = restore_image(tiled, array, RestoreSettings(1.0, stages, recursions, layers=True))
    assert np.abs(found.pixels - expected.pixels).max() <= 1e-5
    for task, estimate in expected.branches.items():
        assert np.abs(found.branches[task] - estimate).max() <= 1e-5


@pytest.mark.parametrize("dtype, shape", [(np.uint8, (531, 300)), (np.float32, (403, 410, 3))])
@pytest.mark.parametrize("model", ["paper", "strided"])
def test_an_image_in_rows_equals_the_whole(
    far_sighted_model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    dtype: type,
    shape: tuple[int, ...],
) -> None:
    if not instruction_sets():
        pytest.skip("the native engine was not built here")
    path = far_sighted_model
    if model == "strided":
        path = tmp_path / "strided.onnx"
        path.write_bytes(write_onnx(random_network(10), record=record()))
    engine = NativeEngine(path, 2)
    array = make_array(1, shape, dtype)
    whole = layered(Restorer(engine), array)
    assert isinstance(engine, NativeEngine)
    engine.tile_pixels, engine.stream_columns = 1, 100
    monkeypatch.setattr(pieces, "STREAM_PIXELS", 64 * 200)
    restorer, counts = Restorer(engine), []
    assert restorer.streaming_engine(*shape[:2]) and len(restorer.tiles(*shape[:2])) > 1
    found = restore_image(
        restorer, array, RestoreSettings(layers=True), on_tile=lambda *count: counts.append(count)
    )
    near = 1 if dtype == np.uint8 else 1e-5  # a value between two may be rounded either way
    assert np.abs(found.pixels.astype(float) - whole.pixels).max() <= near
    assert np.abs(found.branches["rain"] - whole.branches["rain"]).max() <= 1e-5
    assert np.abs(found.residuals["fused"] - whole.residuals["fused"]).max() <= 1e-5
    assert counts[-1] == (len(counts), len(counts)) and len(counts) > 8


@pytest.mark.parametrize(
    "tile_pixels, in_rows", [(None, False), (800_000, True), (799_999, False), (500, False)]
)
def test_smaller_windows_are_rows_from_where_rows_are_worth_it(
    far_sighted_model, tile_pixels: int | None, in_rows: bool
) -> None:
    if not instruction_sets():
        pytest.skip("the native engine was not built here")
    restorer = Restorer(NativeEngine(far_sighted_model, 1), tile_pixels=tile_pixels)
    assert bool(restorer.streaming_engine(1080, 1920)) is in_rows
    assert restorer.streaming_engine(4000, 3000) or tile_pixels in (799_999, 500)


def test_a_smaller_overlap_would_show(far_sighted_model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison of tiled and whole can fail: with one pixel less overlap it does."""
    engine = open_engine(far_sighted_model, threads=1)
    array = make_array(0, (150, 150, 3), np.float32) / 4
    whole = layered(Restorer(engine, tile_pixels=array.size), array).residuals["fused"]
    tiled = Restorer(engine, tile_pixels=100)
    assert np.abs(layered(tiled, array).residuals["fused"] - whole).max() <= 1e-5
    right = engine.info.receptive_radius
    monkeypatch.setattr(ModelInfo, "receptive_radius", lambda _, *depth: (right(*depth) or 0) - 1)
    assert np.abs(layered(tiled, array).residuals["fused"] - whole).max() > 1e-5


def test_tiled_equals_whole_where_floats_overshoot(far_sighted_model) -> None:
    engine = open_engine(far_sighted_model, threads=1)
    array = make_array(2, (150, 150, 3), np.float32) * 3 - 1
    whole = Restorer(engine, tile_pixels=array.size)(array)
    assert np.abs(Restorer(engine, tile_pixels=100)(array) - whole).max() <= 1e-5
    assert whole.min() < -0.5 and whole.max() > 1.2
    assert np.array_equal(Restorer(engine)(array, strength=0), array)


def test_tiles_are_really_used(engine) -> None:
    counts = []
    array = make_array(0, (300, 300, 3), np.float32)
    Restorer(engine, tile_pixels=100 * 100)(array, on_tile=lambda *count: counts.append(count))
    assert len(counts) > 4 and counts[-1] == (len(counts), len(counts))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (1, 40), (31, 1, 3), (20, 30, 3), (20, 30)])
def test_shape_and_type_are_kept(engine, shape, dtype) -> None:
    array = make_array(3, shape, dtype)
    before = array.copy()
    restored = Restorer(engine)(array)
    assert (restored.shape, restored.dtype) == (array.shape, array.dtype)
    assert np.array_equal(array, before)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(17, 19, 3), (17, 19)])
def test_identity_network_returns_every_value(identity_model: Path, shape, dtype) -> None:
    array = make_array(4, shape, dtype)
    restored = cmudrn.load(identity_model)(array)
    if dtype == np.float32:
        assert np.abs(restored - array).max() < 1e-6
    else:
        assert np.array_equal(restored, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_rounded_to_the_nearest(engine, dtype) -> None:
    array = make_array(5, (24, 24, 3), dtype)
    white = np.iinfo(dtype).max
    exact = engine(to_batch((array / np.float64(white)).astype(np.float32))).restored[0]
    expected = np.clip(exact, 0, 1).transpose(1, 2, 0).astype(np.float64) * white
    assert np.abs(Restorer(engine)(array) - expected).max() <= 0.5 + 1e-6 * white


@pytest.mark.parametrize("dtype", KINDS)
def test_strength_zero_is_the_identity(engine, dtype) -> None:
    array = make_array(6, (21, 22, 3), dtype)
    assert Restorer(engine)(array, strength=0).tobytes() == array.tobytes()
    assert (
        restore_image(
            Restorer(engine), array, RestoreSettings(strength=0, layers=True)
        ).pixels.tobytes()
        == array.tobytes()
    )


@pytest.mark.parametrize("shape", [(17, 19, 3), (17, 19)])
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_the_overshoot_of_floats_stays(identity_model: Path, shape, strength: float) -> None:
    array = make_array(9, shape, np.float32) * 3 - 1
    restored = cmudrn.load(identity_model)(array, strength=strength)
    assert restored.dtype == np.float32
    assert np.abs(restored - array).max() < 1e-6


def test_the_network_adds_no_overshoot(darkening_model: Path) -> None:
    array = np.array([[-0.5, 0.1, 0.6, 1.0, 1.1, 1.9]] * 9, np.float32)[..., None].repeat(3, axis=2)
    restored = cmudrn.load(darkening_model)(array)
    assert np.abs(restored - [[[-0.5], [0], [0.4], [0.8], [0.9], [1.7]]]).max() < 1e-5


@given(st.floats(0, 1, width=32))
@settings(max_examples=20, deadline=None)
def test_strength_mixes(darkening_model: Path, strength: float) -> None:
    array = np.full((8, 8, 3), 0.6, np.float32)
    restored = cmudrn.load(darkening_model)(array, strength=strength)
    assert np.abs(restored - (0.6 - 0.2 * strength)).max() < 1e-5


def test_layers_say_what_each_branch_removed(darkening_model: Path) -> None:
    array = np.full((9, 7, 3), 0.6, np.float32)
    restoration = layered(cmudrn.load(darkening_model), array)
    for name, amount in {"rain": 0.1, "snow": 0.3, "fused": 0.2}.items():
        assert np.abs(restoration.residuals[name] - amount).max() < 1e-5
    assert np.abs(restoration.branches["snow"] - 0.3).max() < 1e-5
    assert np.abs(restoration.pixels - 0.4).max() < 1e-5


def test_grey_is_restored_as_grey_rgb(engine) -> None:
    grey = make_array(7, (30, 30), np.float32)
    fused = engine(to_batch(np.repeat(grey[..., None], 3, axis=2))).restored[0]
    expected = np.clip(fused.mean(axis=0), 0, 1)
    assert np.abs(Restorer(engine)(grey) - expected).max() < 1e-6


def test_foreign_model_sees_the_whole_picture(foreign_model: Path) -> None:
    array = make_array(8, (70, 90, 3), np.float32)
    counts: list[tuple[int, int]] = []
    restorer = Restorer(open_engine(foreign_model), tile_pixels=10)
    restored = restorer(array, on_tile=lambda *count: counts.append(count))
    assert np.abs(restored - (1 - array)).max() < 1e-6
    assert counts == [(1, 1)]
    assert set(layered(restorer, array).residuals) == {"fused"}


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float64), "float64"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.full((4, 4, 3), np.nan, np.float32), "no numbers"),
        (np.full((4, 4), np.inf, np.float32), "no numbers"),
        (np.full((4, 4, 3), 255, np.float32), "runs from 255 to 255"),
    ],
)
def test_bad_arrays(engine, array: np.ndarray, sentence: str) -> None:
    with pytest.raises(CmudrnError, match=sentence):
        Restorer(engine)(array)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_bad_strength(engine, strength: float) -> None:
    with pytest.raises(CmudrnError, match="strength"):
        Restorer(engine)(np.zeros((4, 4, 3), np.uint8), strength=strength)


def test_a_model_that_returns_nan_is_refused(tmp_path: Path) -> None:
    from support import tiny_onnx

    weights = tiny_onnx.make_identity_weights()
    weights["fusion.conv3.bias"][:] = np.nan
    path = tiny_onnx.save(tiny_onnx.make_cmudrn(weights), tmp_path / "nan.onnx")
    with pytest.raises(CmudrnError, match="no numbers"):
        cmudrn.load(path)(np.zeros((4, 4, 3), np.uint8))


def test_public_names() -> None:
    assert {"CmudrnError", "Restorer", "load", "restore_file", "restore_image"} < set(
        cmudrn.__all__
    )
    assert all(hasattr(cmudrn, name) for name in cmudrn.__all__)
    with pytest.raises(AttributeError):
        cmudrn.nothing  # noqa: B018
