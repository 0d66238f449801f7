"""Variants of CMUDRN: recursions with weights of their own, and stages at reduced resolution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cmudrn.checkpoints.checkpoint import Checkpoint, save_checkpoint
from cmudrn.errors import FileError, InvalidSettingError
from cmudrn.export.export_checkpoint import export_checkpoint, open_exported
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.registry import count_parameters, macs_per_pixel, make_network
from cmudrn.restoration import Restorer
from cmudrn.training.config import load_config

UNSHARED = ["network.shared_recursions=false"]
REDUCED = ["network.stage_reductions=[4,2,1]"]


SMALL = NetworkConfig(features=4)
ONE_BRANCH = NetworkConfig(kind="drn", features=4)


@pytest.mark.parametrize("config", [SMALL, ONE_BRANCH], ids=["cmudrn", "drn"])
def test_unshared_recursions_with_equal_weights_are_shared_ones(config: NetworkConfig) -> None:
    shared = make_network(config)
    own = make_network(config.model_copy(update={"shared_recursions": False}))
    weights = shared.state_dict()
    names = own.state_dict()
    assert set(weights) < set(names)
    for name in names.keys() - weights.keys():
        before, _, after = name.partition("later.")
        weights[name] = weights[before + after.partition(".")[2]]
    own.load_state_dict(weights)
    image = torch.rand(1, 3, 13, 17)
    torch.testing.assert_close(own(image).fused, shared(image).fused)
    with torch.no_grad():
        for name, parameter in own.named_parameters():
            if "later.1" in name:
                parameter.zero_()
    assert not torch.allclose(own(image).fused, shared(image).fused)


def test_reduction_by_one_is_full_resolution() -> None:
    torch.manual_seed(0)
    plain = make_network(SMALL)
    torch.manual_seed(0)
    reduced = make_network(NetworkConfig(features=4, stage_reductions=(1, 1, 1)))
    image = torch.rand(1, 3, 13, 17)
    torch.testing.assert_close(plain(image).fused, reduced(image).fused, rtol=0, atol=0)


@pytest.mark.parametrize("reductions", [(4, 2, 1), (3, 2, 1), (6, 4, 1)])
@pytest.mark.parametrize("size", [(16, 24), (13, 17), (3, 2), (1, 1)])
def test_reduced_stages_give_estimates_of_the_image_s_size(
    size: tuple[int, int], reductions: tuple[int, ...]
) -> None:
    network = make_network(NetworkConfig(features=4, stage_reductions=reductions))
    outputs = network(torch.rand(2, 3, *size))
    assert [len(branch) for branch in outputs.branches] == [3, 3]
    estimates = [x for branch in outputs.branches for x in branch] + [outputs.fused]
    assert all(x.shape == (2, 3, *size) for x in estimates)


def test_a_reduced_stage_sees_further() -> None:
    """A stage at 1/4 reaches four times as far as one at full resolution."""
    reach = []
    for reductions in ((), (4,)):
        network = make_network(NetworkConfig(stages=1, stage_reductions=reductions))
        image = torch.rand(1, 3, 256, 256, requires_grad=True)
        network(image).branches[0][0][0, 0, 128, 128].backward()
        assert image.grad is not None
        rows = image.grad[0].abs().amax((0, 2)).nonzero()
        reach.append(int(rows.max() - rows.min()) + 1)
    full, quarter = reach
    assert full == 1 + 4 * 7 and 3.5 * full < quarter <= 4 * full + 8


def test_other_depths_are_refused() -> None:
    image = torch.rand(1, 3, 8, 8)
    reduced = make_network(NetworkConfig(features=4, stage_reductions=(4, 2, 1)))
    own = make_network(NetworkConfig(features=4, shared_recursions=False))
    with pytest.raises(InvalidSettingError):
        reduced(image, 2, 3)
    with pytest.raises(InvalidSettingError):
        own(image, 3, 4)
    assert own(image, 3, 2).fused.shape == image.shape


def test_costs_follow_the_structure() -> None:
    plain, own, reduced = (
        NetworkConfig(),
        NetworkConfig(shared_recursions=False),
        NetworkConfig(stage_reductions=(4, 2, 1)),
    )
    counts = [count_parameters(make_network(config)) for config in (plain, own, reduced)]
    assert counts[1] - counts[0] == 2 * 2 * 4 * (16 * 16 * 9 + 16) and counts[2] == counts[0]
    full, fusion = macs_per_pixel(plain), 3600
    assert macs_per_pixel(own) == full
    assert macs_per_pixel(reduced) == round((full - fusion) / 3 * (1 + 1 / 4 + 1 / 16)) + fusion


@pytest.mark.parametrize("settings", [UNSHARED, REDUCED], ids=["unshared", "reduced"])
def test_a_checkpoint_runs_in_torch_and_becomes_no_model_file(
    settings: list[str], tmp_path: Path
) -> None:
    config = load_config("cmudrn-paper", [*settings, "network.features=4"])
    network = make_network(config.network)
    weights = dict(network.state_dict())
    checkpoint = Checkpoint(
        config.model_dump(mode="json", by_alias=True), 1, weights, weights, {}, {}
    )
    path = tmp_path / "last.safetensors"
    save_checkpoint(checkpoint, path)
    image = torch.rand(1, 3, 21, 18)
    with torch.no_grad():
        expected = network(image).fused[0].clamp(0, 1).permute(1, 2, 0).numpy()
    restored = Restorer(open_exported(path))(image[0].permute(1, 2, 0).numpy())
    torch.testing.assert_close(restored, expected, rtol=0, atol=1e-5)
    for engine, precision in (("native", "fp32"), ("foo", "fp32"), ("auto", "bf16")):
        with pytest.raises(InvalidSettingError, match="runs in torch"):
            open_exported(path, engine=engine, precision=precision)
    with pytest.raises(FileError, match="no model file"):
        export_checkpoint(path, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "settings",
    [
        ["network.kind=shared-trunk", *UNSHARED],
        ["network.kind=drn", *REDUCED],
        ["network.stage_reductions=[2,1]"],
        ["data.overexposed=0.1"],
        [*UNSHARED, "training.elastic.stages=[1,3]"],
        [*REDUCED, "training.elastic.recursions=[1,3]"],
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str]) -> None:
    with pytest.raises(InvalidSettingError):
        load_config("cmudrn-paper", settings)
