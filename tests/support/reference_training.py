"""Three training steps of some presets and their scores, as numbers that new code must keep.

`python tests/support/reference_training.py` prints them as JSON. Two commits that train alike print
the same hashes on one machine; `tests/training/test_reference_training.py` compares with the stored
numbers within a tolerance, since other processors and versions of torch round differently.
"""

from __future__ import annotations

import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmudrn.datasets import open_dataset
from cmudrn.evaluation.evaluator import evaluate
from cmudrn.evaluation.methods import engine_method
from cmudrn.export.export_checkpoint import open_exported
from cmudrn.networks.registry import make_network
from cmudrn.training.config import load_config
from cmudrn.training.loop import finished_steps
from cmudrn.training.run import start_run

DATA = Path(__file__).parents[1] / "data"
PRESETS = ("cmudrn", "cmudrn-context", "cmudrn-paper", "context", "drn-authors", "shared-trunk")
"""Together they use every optimiser, loss, view and kind of network of the studies and models."""
SETTINGS = (
    f"data.clean={DATA / 'clean' / 'train'}",
    f"data.validation={DATA / 'clean' / 'val'}",
    "data.reductions=[1]",
    "data.batch=4",
    "data.patch=32",
    "data.workers=0",
    "training.steps=3",
    "training.warmup=0",
    "training.validate_every=1",
    "training.precision=fp32",
)


def train(preset: str, folder: Path) -> dict[str, Any]:
    """Return losses, validation scores and weights after three steps of a preset.

    Each tensor is stored as [projection on a random direction, norm of its change]: a change of a
    single weight shows in the projection.
    """
    torch.use_deterministic_algorithms(True)
    config = load_config(preset, SETTINGS)
    torch.manual_seed(config.training.seed)
    start = make_network(config.network).state_dict()
    run = start_run(config, folder, threads=1, report=lambda _: None)
    weights = {name: value.detach() for name, value in run.network.state_dict().items()}
    lines = list(finished_steps(folder))
    return {
        "sha256": _hash(weights),
        "loss": [line["loss"] for line in lines],
        "psnr": lines[-1]["psnr"],
        "weights": {
            name: [_project(number, value), float((value - start[name]).norm())]
            for number, (name, value) in enumerate(weights.items())
        },
    }


def score(checkpoint: Path) -> dict[str, dict[str, float]]:
    """Return every protocol's score of a model on a photograph in rain and in snow."""
    method = engine_method("model", open_exported(checkpoint, threads=1, engine="onnx"))
    scores = {}
    for weather in ("csd-rain", "csd-snow"):
        pairs = open_dataset(f"folder:{DATA / 'clean' / 'test'}", weather=weather, seed=24)
        for row in evaluate(weather, pairs, [method], limit=1):
            scores[f"{weather} {row.method}"] = row.values
    return scores


def reference() -> dict[str, Any]:
    """Return what is stored: every preset's three steps, and scores of one of them."""
    with tempfile.TemporaryDirectory() as folder:
        trained = {preset: train(preset, Path(folder) / preset) for preset in PRESETS}
        scored = score(Path(folder) / "cmudrn" / "last.safetensors")
    return {"training": trained, "scores": scored}


def _project(number: int, value: torch.Tensor) -> float:
    direction = np.random.default_rng(number).standard_normal(value.shape)
    return float((value.double().numpy() * direction).sum())


def _hash(weights: dict[str, torch.Tensor]) -> str:
    total = sha256()
    for name in sorted(weights):
        total.update(weights[name].contiguous().numpy().tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    json.dump(reference(), sys.stdout, indent=1)
