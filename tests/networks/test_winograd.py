"""What the native engine computes in training is what PyTorch computes, gradients too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cmudrn.engines.native.library import FORCED_ISA, NO_NATIVE, instruction_sets
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.cross_stitch import mix
from cmudrn.networks.registry import make_network
from cmudrn.networks.winograd import Conv2d, convolve, winograd_convolutions

pytestmark = pytest.mark.skipif(not instruction_sets(), reason="the native engine was not built")

ROUNDING = 1e-5
"""Of results beside the largest of them: float32, some hundred products a sum."""


def gradients(call: Callable[..., Tensor], *values: Tensor) -> list[Tensor]:
    """Return what a function makes of values, and the gradients of a fixed weighing of it."""
    leaves = [value.detach().clone().requires_grad_() for value in values]
    made = call(*leaves)
    weights = torch.linspace(-1, 1, made.numel(), dtype=made.dtype).sin().reshape(made.shape)
    (made * weights).sum().backward()
    return [made.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def by_engine(groups: int) -> Callable[..., Tensor]:
    return lambda maps, weight, bias: convolve(maps, weight, bias, 1, 1, groups)


def distances(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    assert len(found) == len(expected)
    return [
        float((one - other).abs().max() / other.abs().max().clamp(min=1e-3))
        for one, other in zip(found, expected, strict=True)
    ]


def convolution(
    generator: torch.Generator, batch: tuple[int, int, int], inputs: int, outputs: int, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    count, height, width = batch
    maps = torch.randn(count, groups * inputs, height, width, generator=generator)
    weight = torch.randn(groups * outputs, inputs, 3, 3, generator=generator) / (3 * inputs**0.5)
    return maps, weight, torch.randn(groups * outputs, generator=generator)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    instruction_set=st.sampled_from(instruction_sets() or ("portable",)),
    seed=st.integers(0, 2**32 - 1),
    batch=st.tuples(st.integers(1, 5), st.integers(1, 30), st.integers(1, 30)),
    channels=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    groups=st.integers(1, 3),
    channels_last=st.booleans(),
)
def test_convolutions_and_their_gradients_are_those_of_pytorch(
    monkeypatch: pytest.MonkeyPatch,
    instruction_set: str,
    seed: int,
    batch: tuple[int, int, int],
    channels: tuple[int, int],
    groups: int,
    channels_last: bool,
) -> None:
    monkeypatch.setenv(FORCED_ISA, instruction_set)
    maps, weight, bias = convolution(torch.Generator().manual_seed(seed), batch, *channels, groups)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    with winograd_convolutions():
        found = gradients(by_engine(groups), maps, weight, bias)
    exact = [value.double() for value in (maps, weight, bias)]
    expected = gradients(lambda m, w, b: F.conv2d(m, w, b, 1, 1, groups=groups), *exact)
    assert max(distances(found, expected)) < ROUNDING


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize("size", [(12, 24, 48, 48), (1, 8, 1, 1), (3, 13, 5, 7)])
def test_cross_stitch_units_and_their_gradients_are_those_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, instruction_set: str, size: tuple[int, int, int, int]
) -> None:
    monkeypatch.setenv(FORCED_ISA, instruction_set)
    generator = torch.Generator().manual_seed(0)
    count, channels, height, width = size
    maps = torch.randn(count, 2 * channels, height, width, generator=generator)
    matrix = torch.randn(2, 2, channels, generator=generator)
    with winograd_convolutions():
        found = gradients(mix, maps, matrix)
    assert max(distances(found, gradients(mix, maps.double(), matrix.double()))) < ROUNDING


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    values = convolution(torch.Generator().manual_seed(1), (5, 20, 24), 24, 16, 2)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            with winograd_convolutions():
                found.append(gradients(by_engine(2), *values))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_threads_of_its_own_serve_where_openmp_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    values = convolution(torch.Generator().manual_seed(1), (2, 20, 24), 24, 16, 2)
    found = []
    for _ in range(2):
        with winograd_convolutions():
            found.append(gradients(by_engine(2), *values))
        monkeypatch.setattr("cmudrn.networks.winograd._run_on_threads", lambda: None)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_gradients_that_nobody_wants_are_not_made() -> None:
    maps, weight, bias = convolution(torch.Generator().manual_seed(2), (2, 8, 8), 8, 8, 1)
    weight.requires_grad_()
    with winograd_convolutions():
        convolve(maps, weight, bias, 1, 1).sum().backward()
    assert maps.grad is None and bias.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(stages=2, recursions=1),
        NetworkConfig(kind="drn", stages=2, recursions=1, tasks=("rain",)),
        NetworkConfig(kind="cmudrn-unet", widths=(8, 8, 16)),
    ],
    ids=lambda config: config.kind,
)
def test_a_network_learns_the_same(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = make_network(config)
    degraded = torch.rand(2, 3, 32, 48)

    def step(wanted: bool) -> list[Tensor]:
        network.zero_grad()
        with winograd_convolutions(wanted=wanted) as used:
            fused = network(degraded).fused
            fused.square().mean().backward()
        assert used == wanted
        return [
            fused.detach(),
            *(p.grad.clone() for p in network.parameters() if p.grad is not None),
        ]

    assert max(distances(step(True), step(False))) < 1e-3


def test_only_what_it_computes_goes_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise AssertionError("the native engine was called")

    monkeypatch.setattr("cmudrn.networks.winograd._call", fail)
    maps, weight, bias = convolution(torch.Generator().manual_seed(3), (1, 8, 8), 8, 8, 1)
    convolve(maps, weight, bias, 1, 1)  # outside
    monkeypatch.setenv(NO_NATIVE, "1")
    with winograd_convolutions() as used:
        convolve(maps, weight, bias, 1, 1)
    assert not used
    monkeypatch.delenv(NO_NATIVE)
    with winograd_convolutions():
        convolve(maps, weight, bias, 2, 1)  # strides
        convolve(maps, weight, bias, 1, 0)  # without a border
        convolve(maps.double(), weight.double(), bias.double(), 1, 1)
        convolve(maps[:, :4], weight[:, :4], bias, 1, 1)  # few channels
        convolve(maps, weight[..., 1:2, 1:2], bias)
        with torch.autocast("cpu", torch.bfloat16):
            convolve(maps, weight, bias, 1, 1)
        with pytest.raises(AssertionError, match="engine was called"):
            Conv2d(8, 8, 3, padding=1)(maps)
