"""TKL, HDCW-Net and AirNet give the results of their authors' code, for weights made by rule.

The bound is that of the golden files: 2e-5 of the largest value of each array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.weights_by_rule import (
    fill_by_rule,
    fill_hdcwnet_by_rule,
    gain_of,
    keras_weights,
    make_input,
    make_weight,
)
from torch import Tensor, nn

from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.dual_tree import transform
from cmudrn.networks.comparators.hdcwnet import HDCWNet, pack_coarse, pack_fine
from cmudrn.networks.comparators.tkl import TKL

BOUND = 2e-5


def check(made: Mapping[str, Tensor], golden: Mapping[str, NDArray[Any]]) -> None:
    """Compare arrays of the same names and layout."""
    for name, value in made.items():
        expected = golden[name].astype(np.float64)
        assert value.shape == expected.shape, name
        worst = np.abs(value.numpy() - expected).max() / np.abs(expected).max()
        print(f"{name}: {worst:.1e} of the largest value")
        assert worst < BOUND, name


def listed(goldens: Path, name: str) -> dict[str, dict[str, Any]]:
    about = json.loads((goldens / f"{name}.json").read_text())
    return {entry["name"]: entry for entry in about["parameters"]}


def watch(kept: dict[str, Tensor], **modules: nn.Module) -> None:
    """Keep the outputs of modules."""

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            kept[name] = output

        return keep

    for name, module in modules.items():
        module.register_forward_hook(keeper(name))


def check_weights(made: Mapping[str, NDArray[Any]], entries: Mapping[str, dict[str, Any]]) -> None:
    """Compare weights by their sums and first values, which are all that the golden files hold."""
    assert list(made) == list(entries)
    for name, entry in entries.items():
        value = made[name]
        assert list(value.shape) == entry["shape"], name
        assert value.ravel()[:3].tolist() == entry["first"], name
        assert value.sum(dtype=np.float64) == pytest.approx(entry["sum"], 1e-9, 1e-7), name
        assert np.abs(value).sum(dtype=np.float64) == pytest.approx(entry["abs_sum"], 1e-9), name


@pytest.mark.parametrize("name", ["tkl", "airnet"])
def test_the_authors_names_shapes_and_order_are_ours(goldens: Path, name: str) -> None:
    network, gain = (TKL(), 1.0) if name == "tkl" else (AirNet(queue=1280), 0.5)
    made = {
        key: make_weight(key, tuple(value.shape), gain=gain_of(key, gain))
        for key, value in network.state_dict().items()
    }
    check_weights(made, listed(goldens, name))


def test_the_roles_places_and_numbers_of_keras_are_ours(goldens: Path) -> None:
    from cmudrn.networks.comparators import hdcwnet_roles as roles

    entries = listed(goldens, "hdcwnet")
    check_weights(keras_weights(HDCWNet((96, 128))), entries)
    layers = {name.rpartition(".")[0]: entry for name, entry in entries.items()}
    assert [layers[role]["h5_layer_index"] for role in roles.in_file()] == list(range(192))
    for base, kind in roles.NUMBERED.items():
        numbers = [f"{base}_{i}" if i else base for i in range(len(roles.created(kind)))]
        assert [layers[role]["keras_layer"] for role in roles.created(kind)] == numbers
    for name, role in roles.NAMED.items():
        assert layers[role]["keras_layer"] == name


def test_tkl(goldens: Path) -> None:
    golden = np.load(goldens / "tkl.npz")
    network = TKL()
    fill_by_rule(network)
    picture = make_input((1, 3, 96, 128))
    assert np.array_equal(picture, golden["input"])
    kept: dict[str, Tensor] = {}
    watch(kept, convd8x_out=network.get_submodule("convd8x"))
    with torch.no_grad():
        outputs = network.run(torch.from_numpy(picture))
    names = ("feat0_res4x", "feat1_res8x", "feat2_res16x", "feat3_bottleneck")
    kept |= {"output": outputs.restored, **dict(zip(names, outputs.features, strict=True))}
    check(kept, golden)


def test_airnet(goldens: Path) -> None:
    golden = np.load(goldens / "airnet.npz")
    network = AirNet()
    fill_by_rule(network, 0.5)
    kept: dict[str, Tensor] = {}
    picture, odd = make_input((1, 3, 24, 40)), make_input((1, 3, 21, 35), 20230706)
    assert np.array_equal(picture, golden["input"]) and np.array_equal(odd, golden["input_odd"])
    with torch.no_grad():
        kept["output_odd"] = network(torch.from_numpy(odd))
        watch(
            kept,
            head_out=network.R.head,
            degradation_map=network.encoder.E_pre,
            first_dgm_out=network.R.get_submodule("body.0.body.0.dgm1"),
            group0_out=network.R.body[0],
        )
        kept["output"] = network(torch.from_numpy(picture))
        encoding = network.encoder(torch.from_numpy(picture))
    kept |= {"embedding": encoding.embedding, "embedding_mlp": encoding.projected}
    check(kept, golden)


def test_hdcwnet(goldens: Path) -> None:
    golden = np.load(goldens / "hdcwnet.npz")
    network = HDCWNet((96, 128))
    fill_hdcwnet_by_rule(network)
    picture = make_input((1, 96, 128, 3))
    assert np.array_equal(picture, golden["input"])
    batch = torch.from_numpy(picture).permute(0, 3, 1, 2)
    told: dict[str, Tensor] = {}
    hook = network.x1L.register_forward_pre_hook(lambda _, inputs: told.update(x1L=inputs[1]))
    with torch.no_grad():
        outputs = network.run(batch)
        outer = transform(batch)
        inner = transform(outer.low)
    hook.remove()
    made = {
        "dtcwt0_low": outer.low,
        "dtcwt0_h0": pack_fine(outer.fine),
        "dtcwt0_h1": pack_coarse(outer.coarse),
        "dtcwt1_h0": pack_fine(inner.fine),
        "x2L_out": outputs.low2,
        "x2H0_out": outputs.fine2,
        "x2H1_out": outputs.coarse2,
        "idtcwt_inner": told["x1L"][:, :3],
        "x1L_out": outputs.low1,
        "x1H1_out": outputs.coarse1,
        "idtcwt_outer": outputs.whole,
        "output": outputs.restored,
    }
    check({name: value.permute(0, 2, 3, 1) for name, value in made.items()}, golden)
