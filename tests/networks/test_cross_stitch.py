"""Cross-stitch units."""

import pytest
import torch
from torch import nn

from cmudrn.networks.cmudrn import CMUDRN
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.cross_stitch import FixedCrossStitch, LearnedCrossStitch
from cmudrn.networks.drn import DRN
from cmudrn.networks.registry import make_network


def maps(count: int = 2) -> list[torch.Tensor]:
    return [torch.rand(1, 16, 4, 5) for _ in range(count)]


def stitched(unit: nn.Module, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(unit(torch.cat(inputs, 1)).split(16, 1))


def test_fixed_is_equation_one_for_both_branches() -> None:
    first, second = maps()
    one, other = stitched(FixedCrossStitch(2, 16, 0.7), [first, second])
    torch.testing.assert_close(one, 0.7 * first + 0.3 * second)
    torch.testing.assert_close(other, 0.7 * second + 0.3 * first)


@pytest.mark.parametrize(("a", "order"), [(0.0, [1, 0]), (1.0, [0, 1])])
def test_a_zero_swaps_and_a_one_leaves_alone(a: float, order: list[int]) -> None:
    inputs = maps()
    outputs = stitched(FixedCrossStitch(2, 16, a), inputs)
    torch.testing.assert_close(outputs, [inputs[i] for i in order])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_even_stitch_leaves_all_branches_the_mean(count: int) -> None:
    inputs = maps(count)
    for output in stitched(FixedCrossStitch(count, 16, 1 / count), inputs):
        torch.testing.assert_close(output, torch.stack(inputs).mean(0))


@pytest.mark.parametrize("a", [0.5, 0.9])
def test_learned_starts_as_fixed(a: float) -> None:
    inputs = maps()
    learned = stitched(LearnedCrossStitch(2, 16, a), inputs)
    torch.testing.assert_close(learned, stitched(FixedCrossStitch(2, 16, a), inputs))


def test_learned_mixes_each_channel_by_its_own_matrix() -> None:
    inputs, unit = maps(3), LearnedCrossStitch(3, 16, 0.5)
    with torch.no_grad():
        unit.matrix.copy_(torch.rand(3, 3, 16))
    expected = [
        sum(unit.matrix[i, j][:, None, None] * h for j, h in enumerate(inputs)) for i in range(3)
    ]
    torch.testing.assert_close(stitched(unit, inputs), expected)


def test_half_and_half_makes_one_trunk_of_two_branches() -> None:
    """With a = 0.5 at in, rb1, rb2 the network is one trunk with two heads (a derived fact)."""
    torch.manual_seed(0)
    network = make_network(NetworkConfig(stages=1, recursions=2))
    picture = torch.rand(1, 3, 8, 8)
    assert isinstance(network, CMUDRN)
    rain, snow = (drn for drn in network.branches if isinstance(drn, DRN))
    m = 0.5 * (rain.stage_features(picture, picture) + snow.stage_features(picture, picture))
    for _ in range(2):
        m = 0.5 * (rain.block1(m) + snow.block1(m))
        m = 0.5 * (rain.block2(m) + snow.block2(m))
    for drn, branch in zip((rain, snow), network(picture).branches, strict=True):
        torch.testing.assert_close(branch[-1], drn.stage_estimate(picture, m))


def test_off_makes_the_branches_independent_networks() -> None:
    network = make_network(NetworkConfig.model_validate({"cross_stitch": {"kind": "off"}}))
    picture = torch.rand(1, 3, 8, 8)
    assert isinstance(network, CMUDRN)
    outputs = network(picture)
    for drn, branch in zip(network.branches, outputs.branches, strict=True):
        torch.testing.assert_close(branch[-1], drn(picture).fused)
