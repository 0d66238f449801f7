"""The deformable convolution in plain torch against its definition."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cmudrn.networks.comparators import deformable
from cmudrn.networks.comparators.deformable import GuidedDeformableConv, deformable_conv


def by_definition(maps: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """The sum over taps of weight times mask times the bilinear sample, pixel by pixel."""
    _, channels, height, width = maps.shape
    made = torch.zeros(1, len(weight), height, width, dtype=maps.dtype)
    for row, column, tap in itertools.product(range(height), range(width), range(9)):
        y = row + tap // 3 - 1 + float(offsets[0, 2 * tap, row, column])
        x = column + tap % 3 - 1 + float(offsets[0, 2 * tap + 1, row, column])
        sample = torch.zeros(channels, dtype=maps.dtype)
        for i, j in itertools.product((0, 1), (0, 1)):
            v, u = math.floor(y) + i, math.floor(x) + j
            if 0 <= v < height and 0 <= u < width:
                sample += (1 - abs(y - v)) * (1 - abs(x - u)) * maps[0, :, v, u]
        kernel = weight[:, :, tap // 3, tap % 3]
        made[0, :, row, column] += mask[0, tap, row, column] * (kernel @ sample)
    return made


def draw(height: int, width: int, channels: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(height)
    return (
        torch.randn(1, channels, height, width).double(),
        1.5 * torch.randn(1, 18, height, width).double(),
        torch.rand(1, 9, height, width).double(),
        torch.randn(3, channels, 3, 3).double(),
    )


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (4, 1), (1, 1)])
def test_it_is_its_definition(size: tuple[int, int]) -> None:
    arguments = draw(*size)
    torch.testing.assert_close(deformable_conv(*arguments), by_definition(*arguments))


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = draw(7, 5)
    whole = deformable_conv(*arguments)
    monkeypatch.setattr(deformable, "STRIP", 12)
    torch.testing.assert_close(deformable_conv(*arguments), whole)


def test_unmoved_and_unweighed_it_is_a_convolution() -> None:
    maps, offsets, mask, weight = draw(9, 6)
    made = deformable_conv(maps, torch.zeros_like(offsets), torch.ones_like(mask), weight)
    torch.testing.assert_close(made, F.conv2d(maps, weight, padding=1))


def test_samples_far_outside_are_zero() -> None:
    maps, offsets, mask, weight = draw(5, 5)
    assert not deformable_conv(maps, torch.full_like(offsets, 99), mask, weight).any()


def test_gradients_reach_maps_offsets_mask_and_weight() -> None:
    arguments = [each.requires_grad_() for each in draw(3, 4)]
    assert torch.autograd.gradcheck(deformable_conv, arguments)


def test_a_new_layer_moves_nothing_and_halves() -> None:
    layer = GuidedDeformableConv(4).double()
    maps, guide = torch.randn(2, 1, 4, 6, 6).double()
    plain = F.conv2d(maps, layer.weight, padding=1)
    torch.testing.assert_close(layer(maps, guide), 0.5 * plain)
