"""Sizes and structure of every network."""

import pytest
import torch
from torch.nn import functional as F

from cmudrn.networks.cmudrn import without_groups
from cmudrn.networks.config import COMPARATORS, NetworkConfig
from cmudrn.networks.registry import NETWORKS, count_parameters, macs_per_pixel, make_network

RESTORING = [kind for kind in NETWORKS if kind not in ("veil-estimator", *COMPARATORS)]
"""The project's own; the veil estimator sees thumbnails only. `comparators` tests the others."""


def config(**settings: object) -> NetworkConfig:
    return NetworkConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"kind": "drn"}, 10_595),
        ({}, 24_825),
        ({"fusion": {"kernel": 1}}, 21_625),
        ({"cross_stitch": {"kind": "learned"}}, 24_825 + 192),
    ],
)
def test_parameters_are_the_published_counts(settings: dict[str, object], parameters: int) -> None:
    assert count_parameters(make_network(config(**settings))) == parameters


@pytest.mark.parametrize(
    ("depth", "drn", "cmudrn"),
    [(1, 10_512, 24_624), (2, 39_456, 82_512), (3, 86_832, 177_264), (7, 460_656, 924_912)],
)
def test_macs_are_the_computed_ones(depth: int, drn: int, cmudrn: int) -> None:
    assert macs_per_pixel(config(kind="drn"), depth, depth) == drn
    assert macs_per_pixel(config(), depth, depth) == cmudrn


def test_macs_agree_with_torchs_own_flop_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for kind in RESTORING:
        settings = config(kind=kind, cross_stitch={"kind": "off"})  # stitches are not counted
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            make_network(settings)(torch.rand(1, 3, 16, 16))  # nothing is padded
        each = counter.get_total_flops() / (2 * 16 * 16)
        assert round(each) == macs_per_pixel(settings)


@pytest.mark.parametrize("kind", RESTORING)
def test_every_network_returns_a_stage_list_for_each_branch(kind: str) -> None:
    outputs = make_network(config(kind=kind))(torch.rand(2, 3, 8, 9), 2, 1)
    assert [len(branch) for branch in outputs.branches] == [2] * (1 if kind == "drn" else 2)
    assert outputs.fused.shape == (2, 3, 8, 9)


def test_one_picture_is_seen_within_the_receptive_field_only() -> None:
    from cmudrn.models.info import receptive_field

    network = make_network(config(stages=2, recursions=1)).double()
    picture = torch.rand(1, 3, 61, 61, dtype=torch.double, requires_grad=True)
    network(picture).fused[0, :, 30, 30].sum().backward()
    assert picture.grad is not None
    seen = picture.grad.abs().sum(1)[0].nonzero()
    side = int((seen.max(0).values - seen.min(0).values).max()) + 1
    assert side <= receptive_field("cmudrn", 2, 1) == 31


def test_three_tasks_make_three_branches() -> None:
    network = make_network(config(tasks=("rain", "snow", "haze")))
    outputs = network(torch.rand(1, 3, 8, 8))
    assert len(outputs.branches) == 3
    assert torch.isfinite(outputs.fused).all()


def test_recomputing_stages_changes_no_gradient() -> None:
    picture = torch.rand(1, 3, 12, 12)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        network = make_network(config(stages=2, recursions=2), checkpoint_stages=recompute)
        network(picture).fused.square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize(("count", "inputs", "outputs"), [(2, 6, 4), (3, 4, 3)])
def test_one_convolution_does_what_groups_do(count: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(outputs, inputs, 3, 3) for _ in range(count)]
    maps, bias = torch.randn(2, count * inputs, 9, 7), torch.randn(count * outputs)
    grouped = F.conv2d(maps, torch.cat(weights), bias, padding=1, groups=count)
    whole = F.conv2d(maps, without_groups(weights), bias, padding=1)
    torch.testing.assert_close(whole, grouped)
