"""Sizes and costs are the published or measured ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.costs import count_macs
from cmudrn.networks.comparators.hdcwnet import HDCWNet
from cmudrn.networks.comparators.prenet import PReNet
from cmudrn.networks.comparators.tkl import TKL
from cmudrn.networks.registry import count_parameters


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 168_963),
        ({"recurrent": False}, 95_107),
        ({"recurrent": False, "shared": True}, 21_123),
    ],
)
def test_prenet_and_prn_have_the_published_sizes(
    settings: dict[str, bool], parameters: int
) -> None:
    assert count_parameters(PReNet(**settings)) == parameters


def test_the_others_have_the_sizes_of_their_authors_code() -> None:
    with torch.device("meta"):
        tkl, airnet, hdcwnet = TKL(), AirNet(queue=8), HDCWNet((512, 672))
    assert count_parameters(tkl) == 28_712_861 and len(tkl.state_dict()) == 390
    assert count_parameters(airnet.R) == 6_290_441
    assert count_parameters(airnet.encoder) == 1_319_936
    copied = count_parameters(airnet.encoder)  # the second encoder follows the first one
    assert count_parameters(airnet) == 8_930_313 - copied
    assert sum(each.numel() for each in airnet.parameters()) == 8_930_313
    assert len(airnet.state_dict()) == 584
    statistics = sum(b.numel() for n, b in hdcwnet.named_buffers() if "running" in n)
    assert statistics == 9_536
    assert count_parameters(hdcwnet) + statistics == 18_957_606
    slopes = sum(p.numel() for n, p in hdcwnet.named_parameters() if "slopes" in n)
    assert slopes == 4_838_400


@pytest.mark.parametrize(
    ("network", "size", "macs"),
    [(TKL, (256, 256), 298_592), (AirNet, (32, 32), 6_324_224), (HDCWNet, (512, 672), 496_341)],
)
def test_multiply_adds_are_the_measured_ones(
    network: type[nn.Module], size: tuple[int, int], macs: int
) -> None:
    assert round(count_macs(network(), *size) / (size[0] * size[1])) == macs


def test_airnets_multiply_adds_are_those_of_its_list_of_layers() -> None:
    full, edges = 107 * 9 * 64**2, 3 * 9 * 3 * 64 + 3 * 64  # 64 to 64 channels; from or to 3
    guided = 50 * (9 * 27 * 128 + 4 * 64**2)
    assert count_macs(AirNet(), 16, 16) == 16 * 16 * (full + edges + guided)


def test_multiply_adds_agree_with_torchs_own_counter() -> None:
    for network in (PReNet(8), TKL(2, 1), AirNet(4, 1, 2)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.rand(1, 3, 32, 48))
        assert counter.get_total_flops() == 2 * count_macs(network, 32, 48)


def test_counting_leaves_the_network_as_it_was() -> None:
    network = PReNet(4)
    count_macs(network, 8, 8)
    assert network.training and not any(m._forward_hooks for m in network.modules())
    assert network(torch.rand(1, 3, 8, 8)).device.type == "cpu"
