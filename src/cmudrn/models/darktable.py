"""A package for darktable's neural restore module: a zip file of a network and its description.

The format is that of darktable-ai-sdk 0.1.1: `ID/config.json` and `ID/model.onnx`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile

from cmudrn.models.info import ModelInfo
from cmudrn.version import __version__

DARKTABLE_SUFFIX = ".dtmodel"

TILE = 768
"""Side of a tile that darktable is asked to use, as for its own denoising networks."""
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of a zip file: the same model gives the same bytes


def pack_for_darktable(network: bytes, info: ModelInfo) -> bytes:
    """Return the package of a plain ONNX file.

    Args:
        network: the plain ONNX file. darktable gives it tiles of RGB with the transfer function
            of sRGB, (1, 3, H, W) in [0, 1].
        info: of the model, for the names that darktable shows.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", info.name.lower()).strip("-") or "model"
    identifier = f"denoise-{name}"
    config = {
        "id": identifier,
        "name": f"rain and snow removal ({info.name})",
        "description": "Removes rain and snow; offered as a denoiser, since darktable has no "
        "task of its own for weather",
        "task": "denoise",
        "arch": info.network,
        "backend": "onnx",
        "version": __version__,
        "tiling": True,
        "attributes": {"input_sizes": [TILE]},
        "model_card": {
            "author": "the CMUDRN authors",
            "paper": "https://arxiv.org/abs/2211.08290",
            "license": str(info.metadata.get("licence", "")),
        },
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as package:
        for file, content in (
            ("config.json", json.dumps(config, indent=2).encode()),
            ("model.onnx", network),
        ):
            entry = zipfile.ZipInfo(f"{identifier}/{file}", _FIRST_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, content)
    return packed.getvalue()
