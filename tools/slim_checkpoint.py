"""The averaged weights of a checkpoint alone, small enough to keep with the code.

    python tools/slim_checkpoint.py runs/x/last.safetensors docs/runs/x/weights.safetensors

What is kept serves `cmudrn export` and `cmudrn train --init-from`: a run that begins with it has
the weights, but a fresh optimiser. To go on bit for bit takes the whole checkpoint (five times as
large).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file


def main() -> None:
    """Write the averaged weights and all that the checkpoint says about itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    with safe_open(given.checkpoint, framework="pt") as file:
        about = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys() if key.startswith("ema/")}  # noqa: SIM118
    given.into.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, given.into, metadata=about)
    print(f"{given.into.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
