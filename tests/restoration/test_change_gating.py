"""ChangeGate holds back faint changes and keeps strong ones, for all tiles and types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cmudrn import Restorer
from cmudrn.engines.base import TILE_PIXELS, Batch, EngineOutputs
from cmudrn.models.info import ModelInfo
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.restoration.change_gating import BLOCK, REACH, ChangeGate

INFO = ModelInfo("added", "other", ("rain",), 1, 1, False, False, 0, "", change_gating_db=40.0)


class Adding:
    """An engine that adds a given change to the image; sees no further than each pixel."""

    tile_pixels, precision, threads, instruction_set = TILE_PIXELS, "fp32", 1, "none"

    def __init__(self, change: np.ndarray, info: ModelInfo = INFO) -> None:
        self.change, self.info = change, info

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        height, width = batch.shape[2:]
        return EngineOutputs(batch + self.change[None, None, :height, :width], {"rain": batch})


def grey(height: int, width: int, dtype: type = np.float32) -> np.ndarray:
    value = 0.5 if dtype == np.float32 else np.iinfo(dtype).max // 2
    return np.full((height, width, 3), value, dtype)


def by_scipy(change: np.ndarray, decibels: float) -> np.ndarray:
    """The same gain by other means; for sides that are whole blocks."""
    rows, columns = (length // BLOCK for length in change.shape)
    blocks = (change**2).reshape(rows, BLOCK, columns, BLOCK).mean((1, 3))
    around = np.ones((2 * REACH + 1,) * 2)
    energy, inside = (
        ndimage.convolve(x, around, mode="constant") for x in (blocks, np.ones_like(blocks))
    )
    gain = (energy / inside) ** 2 / ((energy / inside) ** 2 + 10 ** (-decibels / 5))
    at = [(np.arange(length) + 0.5) / BLOCK - 0.5 for length in change.shape]
    return ndimage.map_coordinates(gain, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")


@pytest.mark.parametrize("height, width", [(640, 512), (BLOCK, 1024)])
def test_the_gain_is_as_computed_by_other_means(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    change = rng.normal(0, 0.02, (height, width)) * (rng.random((height, width)) < 0.1)
    change[:, : width // 4] *= 4
    restored = Restorer(Adding(change.astype(np.float32)))(grey(height, width))
    expected = 0.5 + by_scipy(change, 40)[..., None] * change[..., None]
    assert np.abs(restored - expected).max() < 1e-5
    assert np.abs(restored - 0.5 - change[..., None]).max() > 1e-2


def test_a_change_of_that_energy_is_halved_everywhere() -> None:
    change = np.full((70, 333), 0.01, np.float32)  # 40 dB
    np.testing.assert_allclose(Restorer(Adding(change))(grey(70, 333)), 0.505, atol=1e-6)


def test_weather_stays_removed_and_traces_are_held_back() -> None:
    change = np.zeros((800, 1600), np.float32)
    change[::9, :400] = -0.3  # rain at the left
    change[::97, 1100::61] = 0.2  # a few mistakes at the right
    source = grey(800, 1600, np.uint8)
    free = Restorer(Adding(change), change_gating=False)(source)
    held = Restorer(Adding(change))(source)
    np.testing.assert_array_equal(held[:, :400], free[:, :400])
    np.testing.assert_array_equal(held[:, 1100:], source[:, 1100:])
    assert (free[:, 1100:] != source[:, 1100:]).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("colours", [3, None])
def test_pieces_types_and_layers_make_no_difference(dtype: type, colours: int | None) -> None:
    rng = np.random.default_rng(1)
    column = rng.normal(0, 0.01, (1, 1)).astype(np.float32) + np.float32(0.01)
    change = np.broadcast_to(column, (301, 203))
    source = grey(301, 203, dtype)
    source = source if colours else source[..., 0]
    whole = Restorer(Adding(change))
    pieces = Restorer(Adding(change, replace(INFO, network="drn")), tile_pixels=70 * 70)
    assert len(pieces.tiles(301, 203)) > 4
    level = 1e-6 if dtype == np.float32 else 1
    expected = whole(source).astype(np.float64)
    assert expected.shape == source.shape
    assert np.abs(pieces(source) - expected).max() <= level
    np.testing.assert_array_equal(
        restore_image(whole, source, RestoreSettings(layers=True)).pixels, whole(source)
    )
    peak = 1 if dtype == np.float32 else np.iinfo(dtype).max
    gain = 1 / (1 + 1e-8 / float(column[0, 0]) ** 4)
    assert np.abs(expected - source - gain * column[0, 0] * peak).max() <= level


def test_strength_mixes_what_restraint_left() -> None:
    change = np.full((64, 64), 0.012, np.float32)
    full, half = (Restorer(Adding(change))(grey(64, 64), strength=s) for s in (1, 0.5))
    np.testing.assert_allclose(half - 0.5, (full - 0.5) / 2, atol=1e-6)


def test_a_model_that_does_not_ask_is_not_restrained() -> None:
    change = np.full((64, 64), 0.002, np.float32)
    free = Restorer(Adding(change, replace(INFO, change_gating_db=None)))(grey(64, 64))
    np.testing.assert_allclose(free, 0.502, atol=1e-6)


def test_all_pieces_together_hold_the_energy_of_the_picture() -> None:
    change = np.random.default_rng(2).normal(0, 0.1, (77, 130, 3)).astype(np.float32)
    nothing = np.zeros_like(change)
    whole, pieces = ChangeGate(77, 130, 40), ChangeGate(77, 130, 40)
    whole.add((slice(0, 77), slice(0, 130)), nothing, change)
    for rows in (slice(0, 33), slice(33, 64), slice(64, 77)):
        for columns in (slice(0, 1), slice(1, 96), slice(96, 130)):
            pieces.add((rows, columns), nothing[rows, columns], change[rows, columns])
    np.testing.assert_allclose(whole.gains(), pieces.gains(), rtol=1e-6)
