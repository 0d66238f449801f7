"""Model files: read and checked, described as layers, and those that ship."""

from cmudrn.models.info import ModelInfo, check_depth, receptive_field
from cmudrn.models.layers import Layer, LayerList
from cmudrn.models.registry import ShippedModel, find_model, shipped_models

__all__ = [
    "Layer",
    "LayerList",
    "ModelInfo",
    "ShippedModel",
    "check_depth",
    "find_model",
    "receptive_field",
    "shipped_models",
]
