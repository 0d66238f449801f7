"""Scores of checkpoints and shipped models on the sets that choose between them, as one table.

    python tools/score_checkpoint.py runs/x/last.safetensors cmudrn --data DATA --foreign FOLDER

RGB PSNR of the 8-bit result, mean over the pictures; behind the slash the worst picture. Sets of
clear pictures are compared with themselves. "untouched" is the PSNR between result and input over
the pixels that the weather left alone (all channels within 2/255 of the clean picture), in the sets
where there are any: what a model does where nothing was to be done.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmudrn import load
from cmudrn.datasets import Pair, open_dataset
from cmudrn.evaluation.metrics import psnr_rgb8, psnr_untouched, untouched
from cmudrn.export.export_checkpoint import open_exported
from cmudrn.export.live_engine import open_checkpoint
from cmudrn.image import Image
from cmudrn.restoration import Restorer

KODAK = ("clear", "csd-rain", "light-rain", "snow", "csd-snow", "light-snow")
FEW = 0.002
"""Sets in which a smaller share of the pixels was left alone have no "untouched" column."""

Restore = Callable[[Image], Image]


def open_model(name: str) -> Restore:
    """Return a checkpoint or a model as a function."""
    if name.endswith(".pth"):  # the DRN authors' files, at T = S = 7
        return Restorer(open_checkpoint(name))
    if name.endswith(".safetensors"):
        return Restorer(open_exported(Path(name)))
    return load(name)


def sets(data: Path, foreign: list[Path], limit: int | None) -> Iterator[tuple[str, list[Pair]]]:
    """Yield (name, pairs) of every set."""
    kodak, urban = f"folder:{data / 'clean/test_kodak24'}", f"folder:{data / 'clean/val_urban'}"
    specs = [("urban clear", urban, "clear"), ("urban light-rain", urban, "light-rain")]
    specs += [(f"kodak {w}", kodak, w) for w in KODAK]
    specs += [(f"rain100{k}", f"rain100:{data / f'paired/rain100{k}_40'}", None) for k in "lh"]
    for folder in foreign:
        specs += [
            (f"{folder.name} {p.name}", f"folder:{p}", None) for p in sorted(folder.iterdir())
        ]
    for name, spec, weather in specs:
        dataset = open_dataset(spec, weather=weather)
        count = len(dataset) if limit is None else min(limit, len(dataset))
        yield name, [dataset[i] for i in range(count)]


def score(restore: Restore, pairs: list[Pair]) -> dict[str, float]:
    """Return mean and worst PSNR, and that of the untouched pixels where there are enough."""
    whole, alone, share = [], [], []
    for pair in pairs:
        result = restore(pair.degraded)
        whole.append(psnr_rgb8(result, pair.clean))
        share.append(float(untouched(pair.degraded, pair.clean).mean()))
        if share[-1]:
            alone.append(psnr_untouched(result, pair.clean, pair.degraded))
    scores = {"psnr": float(np.mean(whole)), "worst": float(np.min(whole))}
    if np.mean(share) > FEW and alone:
        scores |= {"untouched": float(np.mean(alone)), "share": float(np.mean(share))}
    return scores


def crop(pair: Pair, side: int) -> Pair:
    """Return the middle of a pair."""
    top, left = (max(0, (length - side) // 2) for length in pair.clean.shape[:2])
    degraded, clean = (p[top : top + side, left : left + side] for p in (pair.degraded, pair.clean))
    return replace(pair, degraded=degraded, clean=clean)


def main() -> None:
    """Score every model on every set and print and keep the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--foreign", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--crop", type=int, help="the middle only, of this side")
    parser.add_argument("--only", nargs="*", default=[], help="sets whose names hold one of these")
    parser.add_argument("--json", type=Path, help="a file that keeps the scores")
    given = parser.parse_args()
    models = {"input": lambda picture: picture} | {name: open_model(name) for name in given.models}
    kept: dict[str, dict[str, dict[str, float]]] = {}
    print("| set | " + " | ".join(models) + " |\n|---|" + "---|" * len(models))
    for name, pairs in sets(given.data, given.foreign, given.limit):
        if given.only and not any(part in name for part in given.only):
            continue
        if given.crop:
            pairs = [crop(pair, given.crop) for pair in pairs]
        cells = []
        for model, restore in models.items():
            began = time.monotonic()
            scores = score(restore, pairs) | {"seconds": round(time.monotonic() - began, 1)}
            kept.setdefault(model, {})[name] = scores
            cell = f"{scores['psnr']:.2f} / {scores['worst']:.2f}"
            if "untouched" in scores and model != "input":
                cell += f" ({scores['untouched']:.1f})"
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
