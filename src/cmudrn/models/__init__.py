"""Exported model files: what they hold, what they say of themselves, and those that ship."""

from cmudrn.models.info import ModelInfo, check_depth, receptive_field
from cmudrn.models.registry import ShippedModel, find_model, shipped_models

__all__ = [
    "ModelInfo",
    "ShippedModel",
    "check_depth",
    "find_model",
    "receptive_field",
    "shipped_models",
]
