"""Weights that are a function of their names and shapes."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cmudrn.checkpoints.comparators.keras_file import TO_TORCH
from cmudrn.networks.comparators import hdcwnet_roles as roles
from cmudrn.networks.comparators.hdcwnet import HDCWNet

SHIFTED = {
    "running_mean": (0.0, 0.05),
    "moving_mean": (0.0, 0.05),
    "bias": (0.0, 0.1),
    "beta": (0.0, 0.1),
    "gamma": (1.0, 0.1),
    "alpha": (0.25, 0.02),
}
"""Last part of a name -> (mean, deviation) of its values."""


def make_weight(
    name: str, shape: tuple[int, ...], *, gain: float = 1.0, keras: bool = False
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Return the value of a weight by the rule of the golden files.

    Args:
        name: with dots; the text after the last says what the weight is.
        shape: of the weight.
        gain: of kernels.
        keras: whether the last dimension, not the first, is the output's.
    """
    last = name.rpartition(".")[2]
    if last in ("num_batches_tracked", "queue_ptr"):
        return np.zeros(shape, np.int64)
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = random.standard_normal(shape)
    if last in ("running_var", "moving_variance"):
        value = 1 + 0.1 * np.abs(z)
    elif last in SHIFTED or len(shape) == 1:
        mean, deviation = SHIFTED.get(last, (0.25, 0.02) if shape == (1,) else (1.0, 0.1))
        value = mean + deviation * z
    else:
        value = gain / math.sqrt(math.prod(shape[:-1] if keras else shape[1:])) * z
    return value.astype(np.float32)


def make_input(shape: tuple[int, ...], seed: int = 20230705) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1) of that shape."""
    return np.random.Generator(np.random.PCG64(seed)).random(shape).astype(np.float32)


def fill_by_rule(network: nn.Module, gain: float = 1.0) -> None:
    """Give a network the weights that the rule makes of its own names and shapes."""
    state = {
        name: torch.from_numpy(
            np.asarray(make_weight(name, tuple(value.shape), gain=gain_of(name, gain)))
        )
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    network.eval()


def gain_of(name: str, gain: float) -> float:
    """Return the gain of a weight: where samples are moved, they are moved far enough to see."""
    return 2.0 if name.endswith("conv_offset_mask.weight") else gain


def keras_weights(network: HDCWNet) -> dict[str, NDArray[np.float32]]:
    """Return, by the rule, HDCW-Net's weights as Keras has them: role and weight -> value."""
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    made = {}
    for role in roles.in_file():
        for weight in roles.WEIGHTS[roles.class_of(role)]:
            shape, order = shapes[roles.torch_key(role, weight)], TO_TORCH.get(weight, (0,))
            keras = tuple(shape[order.index(i)] for i in range(len(order)))
            name = f"{role}.{weight}"
            made[name] = make_weight(name, keras, keras=True).astype(np.float32)
    return made


def fill_hdcwnet_by_rule(network: HDCWNet) -> None:
    """Give HDCW-Net the weights that the rule makes of its roles and Keras's shapes."""
    state = network.state_dict()
    for name, value in keras_weights(network).items():
        role, _, weight = name.rpartition(".")
        turned = value.transpose(TO_TORCH.get(weight, (0,)))
        state[roles.torch_key(role, weight)] = torch.from_numpy(turned.copy())
    network.load_state_dict(state)
    network.eval()
