"""The supervision that a configuration asks for."""

from __future__ import annotations

from cmudrn.networks.comparators.losses import AuthorsSupervision
from cmudrn.networks.config import LossConfig
from cmudrn.networks.losses import Supervision
from cmudrn.networks.weighted_supervision import WeightedSupervision


def make_supervision(config: LossConfig) -> Supervision:
    """Return the supervision that a configuration asks for."""
    if config.authors:
        return AuthorsSupervision(config)
    if config.untouched != 1 or config.opening_floor_db:
        return WeightedSupervision(config)
    return Supervision(config)
