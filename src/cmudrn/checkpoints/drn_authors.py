"""The DRN authors' own weight files."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from cmudrn.errors import CmudrnError
from cmudrn.networks.drn import DRN

NAMES = {
    "conv0.0": "conv_in",
    "res_conv1.0": "block1.conv_a",
    "res_conv1.2": "block1.conv_b",
    "res_conv2.0": "block2.conv_a",
    "res_conv2.2": "block2.conv_b",
    "conv.0": "conv_out",
}
"""The authors' names -> ours."""


def load_official_drn(path: Path | str) -> DRN:
    """Return a DRN (T = S = 7) with the weights of one of the authors' `.pth` files.

    Nothing in the file is executed (`weights_only=True`).

    Raises:
        CmudrnError: there is no such file, or it is no such weight file.

    References:
        Cai et al., Dual Recursive Network for Fast Image Deraining, ICIP 2019.
    """
    if not Path(path).is_file():
        raise CmudrnError(f"There is no weight file {path}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        renamed = {
            f"{NAMES[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
            for key, value in state.items()
        }
        network = DRN(16, 7, 7)
        network.load_state_dict(renamed)
    except (
        OSError,
        RuntimeError,
        KeyError,
        AttributeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise CmudrnError(f"{path} is not a weight file of the DRN authors.") from error
    return network.eval()
