"""The description of a network: its checks, and its result compared with independent code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layer_reference import run_layers
from support.random_networks import random_network

from cmudrn.models.info import receptive_field
from cmudrn.models.layers import Layer, LayerList, NetworkError
from cmudrn.models.model_file import make_info, read_model_file
from cmudrn.models.registry import shipped_models


def ones(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ones(shape, np.float32)


PAPERS = [name for name in shipped_models() if name != "cmudrn"]


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_networks_are_known_by_their_layers(name: str) -> None:
    info = make_info(read_model_file(shipped_models()[name].path))
    assert info.alignment == 1
    for stages, recursions in ((1, 1), (3, 3), (2, 4), (info.stages, info.recursions)):
        layers = info.layers(stages, recursions)
        side = receptive_field(info.network, stages, recursions)
        assert layers is not None and 2 * layers.receptive_radius + 1 == side
    own = info.layers()
    assert own is not None and own.multiply_adds_per_pixel == info.metadata["macs_per_pixel"]
    veil = sum(array.size for array in info.veil_weights.values())
    assert own.parameters + veil == info.parameters


def test_the_multi_scale_network_is_known_by_its_layers() -> None:
    info = make_info(read_model_file(shipped_models()["cmudrn"].path))
    layers = info.layers()
    assert layers is not None and info.alignment == layers.alignment == 16
    # The record leaves the cross-stitch units out; the graph has them as 1x1 convolutions.
    stitches = 2 * (48**2 / 4 + 64**2 / 16 + 96**2 / 64) + 128**2 / 256
    assert layers.multiply_adds_per_pixel == info.metadata["macs_per_pixel"] + stitches
    assert info.parameters == 772_308 + 61_205  # of the network and of its veil estimator


def test_weights_are_shared_by_all_rounds() -> None:
    layers = make_info(read_model_file(shipped_models()["cmudrn-25k"].path)).layers(4, 4)
    assert layers is not None
    weights = {id(layer.weight) for layer in layers.layers if layer.operator == "conv"}
    assert len(weights) == 15
    factors = {id(layer.weight) for layer in layers.layers if layer.operator == "mul"}
    assert len(factors) == 13  # 4 for each of 3 stitches, and the mean's half


@pytest.mark.parametrize("seed", range(24))
def test_the_receptive_radius_is_that_of_an_impulse(seed: int) -> None:
    network = random_network(seed)
    radius, step = network.receptive_radius, network.alignment
    side = step * (2 * radius // step + 4)
    rng = np.random.default_rng(seed)
    image = rng.random((1, 3, side, side), np.float32)
    before, seen = run_layers(network, image), 0
    for offset in range(step):
        middle = side // 2 // step * step + offset
        struck = image.copy()
        struck[:, :, middle, middle] += 5
        for name, after in run_layers(network, struck).items():
            changed = np.argwhere((after != before[name]).any((0, 1))) - middle
            seen = max(seen, int(np.abs(changed).max(initial=0)))
    assert 0 < seen <= radius
    assert seen >= radius - step  # it is not much larger than it needs to be either


def test_what_an_output_does_not_need_is_left_out() -> None:
    conv = Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3), pad=1)
    layers = (conv, Layer("relu", (0,), 2), Layer("add", (1, 0), 3))
    network = LayerList(layers, {"restored": 3, "rain": 2})
    kept = network.restricted(["restored"])
    assert [layer.operator for layer in kept.layers] == ["conv", "add"]
    assert dict(kept.outputs) == {"restored": 2}
    image = np.random.default_rng(0).random((1, 3, 4, 5), np.float32)
    expected = run_layers(network, image)["restored"]
    assert np.array_equal(run_layers(kept, image)["restored"], expected)


WRONG: dict[str, Layer] = {
    "unknown operator": Layer("warp", (0,), 1),
    "value from the future": Layer("add", (0, 1), 1),
    "negative value": Layer("relu", (-1,), 1),
    "wrong output": Layer("relu", (0,), 2),
    "no input": Layer("concat", (), 1),
    "one input": Layer("add", (0,), 1),
    "two inputs": Layer("relu", (0, 0), 1),
    "no weight": Layer("conv", (0,), 1),
    "flat weight": Layer("conv", (0,), 1, weight=ones(3, 3)),
    "oblong kernel": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 1), pad=1),
    "other channels": Layer("conv", (0,), 1, weight=ones(3, 4, 3, 3), pad=1),
    "float64": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3).astype(np.float64), pad=1),
    "size not kept": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3)),
    "padding too wide": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3), pad=2),
    "stride of 0": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3), stride=0, pad=1),
    "stride of 3": Layer("conv", (0,), 1, weight=ones(3, 3, 3, 3), stride=3, pad=1),
    "groups of 0": Layer("conv", (0,), 1, weight=ones(3, 3, 1, 1), groups=0),
    "groups that do not divide": Layer("conv", (0,), 1, weight=ones(4, 1, 1, 1), groups=3),
    "bias of other length": Layer("conv", (0,), 1, weight=ones(3, 3, 1, 1), bias=ones(2)),
    "transposed of 3": Layer("conv_transpose", (0,), 1, weight=ones(3, 3, 3, 3), stride=2, pad=1),
    "no slopes": Layer("prelu", (0,), 1),
    "factors of other length": Layer("mul", (0,), 1, weight=ones(4)),
    "slice past the end": Layer("slice", (0,), 1, start=2, count=2),
    "empty slice": Layer("slice", (0,), 1, start=1, count=0),
    "slice before the start": Layer("slice", (0,), 1, start=-1, count=2),
    "block of 1": Layer("pixel_unshuffle", (0,), 1, block=1),
    "block of 10**9": Layer("pixel_unshuffle", (0,), 1, block=10**9),
    "three channels shuffled": Layer("pixel_shuffle", (0,), 1, block=2),
    "upsampling by 3": Layer("upsample_nearest", (0,), 1, block=3),
}


@pytest.mark.parametrize("kind", list(WRONG))
def test_layers_that_cannot_run_are_refused(kind: str) -> None:
    with pytest.raises(NetworkError):
        LayerList((WRONG[kind],), {})


@pytest.mark.parametrize(
    "layers, outputs",
    [
        ((Layer("pixel_unshuffle", (0,), 1, block=2),), {"restored": 1}),
        ((Layer("upsample_nearest", (0,), 1, block=2),), {"restored": 1}),
        ((Layer("slice", (0,), 1, count=1),), {"restored": 1}),
        ((), {"restored": 1}),
        ((Layer("pixel_unshuffle", (0,), 1, block=2), Layer("concat", (0, 1), 2)), {}),
        (tuple(Layer("concat", (i, i), i + 1) for i in range(11)), {}),
        (tuple(Layer("upsample_nearest", (i,), i + 1, block=2) for i in range(7)), {}),
    ],
)
def test_networks_that_do_not_keep_the_image_are_refused(
    layers: tuple[Layer, ...], outputs: dict[str, int]
) -> None:
    with pytest.raises(NetworkError):
        LayerList(layers, outputs)


def test_a_file_without_loops_gives_its_layers(foreign_model: Path) -> None:
    info = make_info(read_model_file(foreign_model))
    assert info.layers() is None  # 1 - x is a Sub, which is no layer
    assert info.receptive_radius() is None and info.alignment == 1
