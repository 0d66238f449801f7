"""A checkpoint of the network over several scales as a model file, compared with torch.

python tools/export_unet.py docs/runs/cmudrn-unet-long/weights.safetensors cmudrn.onnx --name cmudrn
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from cmudrn.nn.averaged import read_weights
from cmudrn.nn.networks import make_network
from cmudrn.nn.pyramid_export import export_pyramid

TOLERANCE = 1e-4


def main() -> None:
    """Export, compare, and say by how much the two differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--name", default="cmudrn-unet")
    parser.add_argument("--layout", choices=("grouped", "apart"), default="grouped")
    given = parser.parse_args()
    config, weights, about = read_weights(given.checkpoint)
    network = make_network(config.network)
    network.load_state_dict(weights)
    network.eval()
    training = {"step": about["step"], "config": about["config"], **about["record"]}
    export_pyramid(
        config.network,
        weights,
        given.into,
        given.name,
        given.layout,
        elastic=False,
        licence=config.licence,
        training=training,
    )
    session = onnxruntime.InferenceSession(given.into, providers=["CPUExecutionProvider"])
    worst = 0.0
    for shape in ((2, 3, 37, 50), (1, 3, 128, 96)):
        picture = np.random.default_rng(0).random(shape, dtype=np.float32)
        with torch.inference_mode():
            outputs = network(torch.from_numpy(picture))
        wanted = [outputs.fused, *(branch[-1] for branch in outputs.branches)]
        found = session.run(None, {"degraded": picture})
        worst = max(
            worst, *(float(np.abs(f - w.numpy()).max()) for f, w in zip(found, wanted, strict=True))
        )
    if not worst <= TOLERANCE:
        given.into.unlink()
        raise SystemExit(f"the exported model differs from torch by {worst:.1e}")
    print(
        f"{given.into}: {given.into.stat().st_size / 1e6:.2f} MB, differs from torch by {worst:.1e}"
    )


if __name__ == "__main__":
    main()
