"""The network of a model file in PyTorch, for benchmarks."""

from __future__ import annotations

import torch
from torch import nn

from cmudrn.models import find_model
from cmudrn.models.model_file import make_info, read_model_file
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.registry import make_network

STRUCTURE = ("tasks", "features", "cross_stitch", "fusion", "relu_output")
"""What a model's record and a network's configuration both say."""


def open_network(model: str, depth: int) -> nn.Module:
    """Return a model file's network in PyTorch, at T = S = depth.

    Raises:
        SystemExit: the file lacks weights of the network.
    """
    file = read_model_file(find_model(model))
    record = make_info(file).metadata
    structure = {key: record[key] for key in STRUCTURE if key in record}
    config = NetworkConfig(kind=record["network"], stages=depth, recursions=depth, **structure)
    network = make_network(config).eval()
    tensors = {name: torch.from_numpy(array.copy()) for name, array in file.tensors.items()}
    if network.load_state_dict(tensors, strict=False).missing_keys:
        raise SystemExit(f"The file of {model} has other weights than the network.")
    return network
