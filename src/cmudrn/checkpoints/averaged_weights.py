"""The averaged weights in a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from cmudrn.config import Config, make_config
from cmudrn.errors import CmudrnError
from cmudrn.restoration.dehazing import VeilEstimator


def read_weights(path: Path) -> tuple[Config, dict[str, Tensor], dict[str, Any]]:
    """Return (configuration, averaged weights, all that the checkpoint says about itself).

    Raises:
        CmudrnError: the file is missing, damaged, or no checkpoint of this program.
    """
    if not path.is_file():
        raise CmudrnError(f"There is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["cmudrn"])
            weights = {
                key.removeprefix("ema/"): file.get_tensor(key)
                for key in file.keys()
                if key.startswith("ema/")
            }
    except (SafetensorError, KeyError, ValueError) as error:
        raise CmudrnError(f"{path} is not a checkpoint of this program.") from error
    return make_config(about["config"]), weights, about


def open_context(path: Path) -> VeilEstimator:
    """Return the context branch in a checkpoint.

    Raises:
        CmudrnError: the file is missing, damaged, or holds another network.
    """
    config, weights, _ = read_weights(path)
    if config.network.kind != "context":
        raise CmudrnError(f"{path} holds a {config.network.kind} network, no context branch.")
    return VeilEstimator({name: value.numpy() for name, value in weights.items()})
