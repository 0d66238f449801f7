"""Measure what bfloat16 costs in quality: two tables for docs/speed.md.

    python benchmarks/precision.py --kodak CLEAN --paired RAIN100 ... --real PHOTOS ...

The first table scores fp32 and bf16 on pairs with ground truth; "lost" is the mean PSNR of fp32
minus that of bf16. The second compares both on photographs of real weather.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cmudrn.datasets import Dataset, open_dataset
from cmudrn.engines import open_engine
from cmudrn.evaluation.metrics import psnr, psnr_rgb8
from cmudrn.image import Image, read_image
from cmudrn.restoration import Restorer

WEATHERS = ("clear", "csd-rain", "light-rain", "snow", "csd-snow")
PICTURES = (".jpg", ".jpeg", ".png")


def compare(dataset: Dataset, exact: Restorer, rounded: Restorer) -> str:
    """Return a row: pictures, mean PSNR of each in dB, what is lost, the nearest and farthest."""
    scores: list[tuple[float, float]] = []
    near: list[float] = []
    for pair in (dataset[index] for index in range(len(dataset))):
        degraded = pair.degraded.astype(np.float32)
        first, second = (one(degraded, dehaze=False) for one in (exact, rounded))
        scores.append((psnr_rgb8(first, pair.clean), psnr_rgb8(second, pair.clean)))
        near.append(decibels(first, second))
    fp32, bf16 = np.mean(scores, axis=0)
    return f"{len(scores)} | {fp32:.3f} | {bf16:.3f} | {fp32 - bf16:.4f} | {min(near):.1f}"


def decibels(first: Image, second: Image) -> float:
    """Return the PSNR between two pictures in [0, 1], in dB."""
    return psnr(first.clip(0, 1).astype(np.float64), second.clip(0, 1).astype(np.float64), 1.0)


def photographs(folders: Sequence[Path]) -> Iterable[Path]:
    """Yield the pictures in some folders."""
    for path in itertools.chain(*(sorted(folder.rglob("*")) for folder in folders)):
        if path.suffix.lower() in PICTURES:
            yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--kodak", type=Path, help="folder of clean pictures, for rendered weather")
    parser.add_argument("--paired", type=Path, nargs="*", default=[], help="folders like Rain100L")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of photographs")
    chosen = parser.parse_args()
    exact = Restorer(open_engine(chosen.model, "native", None, "fp32"))
    rounded = Restorer(open_engine(chosen.model, "native", None, "bf16"))
    sets = {
        kind: open_dataset(f"folder:{chosen.kodak}", weather=kind)
        for kind in WEATHERS
        if chosen.kodak
    }
    sets |= {path.name: open_dataset(f"rain100:{path}") for path in chosen.paired}
    print("| set | pictures | fp32, dB | bf16, dB | lost, dB | least between them, dB |")
    print("|---|---|---|---|---|---|")
    for name, dataset in sets.items():
        print(f"| {name} | {compare(dataset, exact, rounded)} |", flush=True)
    print("\n| photograph | between fp32 and bf16, dB |\n|---|---|")
    for path in photographs(chosen.real):
        picture = read_image(path)
        near = decibels(exact(picture), rounded(picture))
        print(f"| {path.stem} | {near:.1f} |", flush=True)


if __name__ == "__main__":
    main()
