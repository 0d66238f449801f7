"""What a network costs, counted while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cmudrn.networks.comparators.deformable import GuidedDeformableConv


def count_macs(network: nn.Module, height: int, width: int) -> int:
    """Return the multiply-adds of one run on (1, 3, height, width).

    Convolutions, transposed and deformable ones, and linear layers count; wavelet transforms,
    resizing, norms, activations and additions do not. No pixel is computed: the network runs on
    torch's device "meta", where arrays have a shape and nothing else.
    """
    total = 0

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += module.weight.numel() * output.numel() // module.out_features
            return
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.weight.numel() * positions.shape[2] * positions.shape[3]

    counted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, GuidedDeformableConv)
    ghost = copy.deepcopy(network).to("meta").eval()
    for module in ghost.modules():
        if isinstance(module, counted):
            module.register_forward_hook(count)
        if isinstance(module, GuidedDeformableConv):
            setattr(module, "forward", _ask_only(module))  # noqa: B010  (mypy refuses methods)
    with torch.no_grad():
        ghost(torch.empty(1, 3, height, width, device="meta"))
    return total


def _ask_only(layer: GuidedDeformableConv) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a deformable convolution that makes the offsets and moves nothing.

    On "meta", torch takes a hundred times as long for the shape of a sampled map as for anything
    else.
    """

    def forward(maps: Tensor, guide: Tensor) -> Tensor:
        layer.conv_offset_mask(torch.cat([maps, guide], 1))
        return torch.empty_like(maps)

    return forward
