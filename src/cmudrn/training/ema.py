"""The exponential moving average of a network's weights, which is validated and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_ema(
    average: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float, step: int
) -> None:
    """Move the average towards the weights: average = d average + (1 - d) weights, in place.

    d = min(decay, (1 + step) / (10 + step)), so that the start values do not dominate early on.

    Args:
        average: name -> tensor, changed in place.
        weights: the same names, after the optimiser's step.
        decay: in [0, 1); 0 copies the weights.
        step: optimiser steps done before this one.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step)) if decay else 1.0
    for name, value in weights.items():
        if value.is_floating_point():
            average[name].lerp_(value, weight)
        else:  # a counter
            average[name].copy_(value)


@contextmanager
def averaged_weights(network: nn.Module, average: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Yield a network that runs with its averaged weights, in evaluation mode."""
    own = {name: value.detach().clone() for name, value in network.state_dict().items()}
    network.load_state_dict(dict(average))
    network.eval()
    try:
        yield network
    finally:
        network.load_state_dict(own)
        network.train()
