"""Engines that run a list of layers, against the reference in NumPy; strided networks; copies."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layer_reference import run_layers
from support.random_networks import random_network, record
from support.wide_networks import NetworkBuilder

from cmudrn.engines import open_engine
from cmudrn.engines.base import Batch, Engine
from cmudrn.engines.onnx import _for_processors
from cmudrn.errors import ImageValueError, ModelFileError
from cmudrn.models.layers import LayerList
from cmudrn.models.onnx_writer import write_onnx
from cmudrn.restoration import Restorer, RestoreSettings, restore_image

LAYER_ENGINES = ["onnx", "openvino", "native"]


def save(network: LayerList, folder: Path) -> Path:
    path = folder / "random.onnx"
    path.write_bytes(write_onnx(network, record=record()))
    return path


def opened(path: str | Path, name: str) -> Engine:
    if name == "openvino":
        pytest.importorskip("openvino")
    return open_engine(path, name, 1, "fp32")


@pytest.mark.parametrize("name", LAYER_ENGINES)
@pytest.mark.parametrize("seed", range(12))
def test_every_layer_is_what_the_reference_says(seed: int, name: str, tmp_path: Path) -> None:
    network = random_network(seed)
    batch = np.random.default_rng(seed).random(
        (2, 3, 5 * network.alignment, 4 * network.alignment), np.float32
    )
    expected = run_layers(network, batch)
    found = opened(save(network, tmp_path), name)(batch, branches=True)
    assert np.abs(found.restored - expected["restored"]).max() < 1e-5
    assert np.abs(found.branches["rain"] - expected["rain"]).max() < 1e-5


@pytest.mark.parametrize("seed", [10, 79, 16])
@pytest.mark.parametrize("size", [(97, 64), (64, 101), (120, 75)])
def test_tiles_of_a_strided_network_equal_the_whole(
    seed: int, size: tuple[int, int], tmp_path: Path
) -> None:
    network = random_network(seed)
    assert network.alignment > 1
    engine = opened(save(network, tmp_path), "onnx")
    image = np.random.default_rng(seed).random((*size, 3), np.float32)
    whole = restore_image(Restorer(engine), image, RestoreSettings(layers=True))
    restorer = Restorer(engine, tile_pixels=30 * 30)
    assert len(restorer.tiles(*size)) > 1
    tiled = restore_image(restorer, image, RestoreSettings(layers=True))
    assert np.abs(tiled.pixels - whole.pixels).max() < 1e-5
    assert np.abs(tiled.branches["rain"] - whole.branches["rain"]).max() < 1e-5


def test_an_image_of_any_size_is_padded_with_its_edge(tmp_path: Path) -> None:
    network = random_network(4)
    image = np.random.default_rng(1).random((30, 41, 3), np.float32)
    restored = Restorer(opened(save(network, tmp_path), "onnx"))(image)
    padded = np.pad(image, ((0, 2), (0, 3), (0, 0)), mode="edge")
    expected = run_layers(network, padded.transpose(2, 0, 1)[None])["restored"][0]
    expected = expected.transpose(1, 2, 0)[:30, :41].clip(0, 1)
    assert np.abs(restored - expected).max() < 1e-5


@pytest.mark.parametrize("name", LAYER_ENGINES)
@pytest.mark.parametrize("shape", [(1, 3, 30, 32), (1, 4, 32, 32), (3, 32, 32), (0, 3, 32, 32)])
def test_a_batch_that_does_not_fit_is_one_sentence(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    engine = opened(save(random_network(4), tmp_path), name)
    with pytest.raises(ImageValueError, match=r"multiples of 4|has the shape"):
        engine(np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", ["native", *LAYER_ENGINES])
def test_an_engine_is_pickled_and_copied_without_its_file(
    name: str, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "gone.onnx"
    path.write_bytes(Path(__file__).parents[2].joinpath(SHIPPED).read_bytes())
    try:
        engine = opened(path, name)
    except ModelFileError:
        raise
    except Exception as error:  # no compiled engine here
        pytest.skip(str(error))
    path.unlink()
    batch: Batch = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    expected = engine(batch).restored
    for again in (pickle.loads(pickle.dumps(engine)), copy.deepcopy(engine)):
        assert again.threads == 1 and again.info.sha256 == engine.info.sha256
        assert np.array_equal(again(batch).restored, expected)


SHIPPED = "src/cmudrn/models/weights/cmudrn.onnx"


def test_a_restorer_is_pickled_and_copied() -> None:
    restorer = Restorer(open_engine("cmudrn", "onnx", 1), tile_pixels=12_345)
    image = np.random.default_rng(0).random((20, 24, 3), np.float32)
    for again in (pickle.loads(pickle.dumps(restorer)), copy.deepcopy(restorer)):
        assert again.tile_pixels == 12_345
        assert np.array_equal(again(image), restorer(image))


def test_a_plain_file_runs_in_bare_onnxruntime() -> None:
    """The ten lines of the documentation."""
    onnxruntime = pytest.importorskip("onnxruntime")
    engine = open_engine("cmudrn-25k", "onnx", 1)
    layers = engine.info.layers(2, 3)
    assert layers is not None
    session = onnxruntime.InferenceSession(write_onnx(layers, record=record()))
    batch = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
    restored, rain, snow = session.run(None, {"degraded": batch})
    expected = engine(batch, branches=True, stages=2, recursions=3)
    assert [entry.name for entry in session.get_inputs()] == ["degraded"]
    assert "cmudrn" in session.get_modelmeta().custom_metadata_map
    assert np.abs(restored - expected.restored).max() < 1e-5
    assert np.abs(rain - expected.branches["rain"]).max() < 1e-5
    assert np.abs(snow - expected.branches["snow"]).max() < 1e-5


@pytest.mark.parametrize("seed", range(12))
def test_groups_that_are_joined_for_wide_processors_give_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmudrn.engines.onnx._has_avx512", lambda: True)
    builder = NetworkBuilder(seed)
    narrow = builder.conv(builder.conv(0, 2 * (5 + seed)), 2 * (3 + seed), groups=2)
    restored = builder.conv(builder.conv(narrow, 8, groups=2), 3)
    network = LayerList(tuple(builder.layers), {"restored": restored})
    batch = np.random.default_rng(seed).random((1, 3, 18, 22), np.float32)
    joined = _for_processors(network)
    assert all(layer.groups == 1 for layer in joined.layers)
    difference = run_layers(network, batch)["restored"] - run_layers(joined, batch)["restored"]
    assert np.abs(difference).max() < 1e-5


@pytest.mark.parametrize("order", ["CRD", "DCR"])
@pytest.mark.parametrize("channels", [3, 7])
def test_a_shuffle_by_convolution_gives_the_same_bytes(channels: int, order: str) -> None:
    builder = NetworkBuilder(channels)
    half = builder.add("pixel_unshuffle", 0, channels=12, scale=2, block=2)
    wide = builder.conv(half, 4 * channels)
    large = builder.add("pixel_shuffle", wide, channels=channels, scale=0.5, block=2, order=order)
    network = builder.finish(restored=builder.conv(large, 3))
    changed = _for_processors(network)
    replaced = [layer.operator for layer in changed.layers].count("conv_transpose")
    assert replaced == (1 if order == "CRD" else 0)
    batch = np.random.default_rng(channels).random((2, 3, 8, 14), np.float32)
    expected, found = (run_layers(one, batch)["restored"] for one in (network, changed))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("avx512", [False, True])
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_branches_are_computed_only_where_they_are_wanted(
    name: str, avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmudrn.engines.onnx._has_avx512", lambda: avx512)
    written = []

    def write(layers: LayerList, **about: Any) -> bytes:
        written.append(list(layers.outputs))
        return write_onnx(layers, **about)

    monkeypatch.setattr(f"cmudrn.engines.{name}.write_onnx", write)
    engine = opened("cmudrn", name)
    batch = np.random.default_rng(1).random((1, 3, 64, 96), np.float32)
    alone, together = engine(batch), engine(batch, branches=True)
    assert written == [["restored"], ["restored", "rain", "snow"]]
    assert (alone.branches, set(together.branches)) == ({}, {"rain", "snow"})
    assert np.abs(alone.restored - together.restored).max() < 1e-5
