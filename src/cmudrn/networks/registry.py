"""The networks by name, and how big and how costly each is."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from cmudrn.image.resampling import SIDE
from cmudrn.networks.cmudrn import CMUDRN, SharedTrunk
from cmudrn.networks.cmudrn_unet import CMUDRNUNet, cmudrn_unet_macs
from cmudrn.networks.comparators.costs import count_macs
from cmudrn.networks.comparators.harness import trainable
from cmudrn.networks.config import COMPARATORS, NetworkConfig
from cmudrn.networks.drn import DRN
from cmudrn.networks.veil_estimator import VeilEstimatorNetwork, veil_estimator_macs


def _drn(config: NetworkConfig, *, checkpoint_stages: bool = False) -> DRN:
    return DRN(
        config.features,
        config.stages,
        config.recursions,
        shared_recursions=config.shared_recursions,
        relu_output=config.relu_output,
        checkpoint_stages=checkpoint_stages,
    )


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cmudrn": CMUDRN,
    "cmudrn-unet": CMUDRNUNet,
    "drn": _drn,
    "shared-trunk": SharedTrunk,
    "veil-estimator": lambda config, **_: VeilEstimatorNetwork(config),  # it has no stages
    **dict.fromkeys(COMPARATORS, lambda config, **_: trainable(config.kind, len(config.tasks))),
}
COUNTED_AT = 128
"""Side of the picture at which a comparator's multiply-adds for a pixel are counted."""


def make_network(config: NetworkConfig, *, checkpoint_stages: bool = False) -> nn.Module:
    """Return the network that config describes, with PyTorch's default start values."""
    return NETWORKS[config.kind](config, checkpoint_stages=checkpoint_stages)


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers the network learns."""
    return sum(each.numel() for each in network.parameters() if each.requires_grad)


def macs_per_pixel(
    config: NetworkConfig, stages: int | None = None, recursions: int | None = None
) -> int:
    """Return multiply-adds for one pixel; biases, additions and stitches are not counted.

    A veil estimator's are those of a thumbnail, for each pixel of it.

    DRN with 16 features: T (1296 + 9216 S). CMUDRN: twice that plus 3600 for a 3x3 fusion head.
    """
    c, branches = config.features, len(config.tasks)
    t, s = stages or config.stages, recursions or config.recursions
    conv_in, blocks, conv_out = 9 * 6 * c, 9 * 4 * c * c, 9 * 3 * c
    if config.is_comparator:
        bare = trainable(config.kind, 1).network
        return round(count_macs(bare, COUNTED_AT, COUNTED_AT) / COUNTED_AT**2)
    if config.kind == "veil-estimator":
        return veil_estimator_macs(c) // SIDE**2
    if config.kind == "cmudrn-unet":
        return round(cmudrn_unet_macs(config))
    if config.kind == "drn":
        return t * (conv_in + s * blocks + conv_out)
    k2 = config.fusion.kernel**2
    fusion = k2 * (3 * branches * c + c * c + 3 * c)
    if config.kind == "shared-trunk":
        return t * (conv_in + s * blocks + branches * conv_out) + fusion
    steps = sum(1 / reduction**2 for reduction in config.stage_reductions) or t
    return round(branches * steps * (conv_in + s * blocks + conv_out) + fusion)
