"""Measure what change gating gains on clean images and costs in weather, to choose its threshold.

    python benchmarks/change_gating.py CLEAN_PICTURES [MODEL]

Prints the table of docs/models.md: mean RGB PSNR, rounded to 8 bit, of the restored images without
change gating and for several thresholds. Light weather is also rendered at severities 1 and 0.5.
The threshold of the shipped models was chosen on the validation photographs.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import cmudrn
from cmudrn.evaluation.metrics import psnr_rgb8
from cmudrn.image import Image, from_float, read_image
from cmudrn.restoration import RestoreSettings, restore_image
from cmudrn.restoration.change_gating import ChangeGate
from cmudrn.weather import WEATHERS

SEVERITIES = {
    "csd-rain": (3.0,),
    "snow": (3.0, 1.0),
    "light-rain": (3.0, 1.0, 0.5),
    "light-snow": (3.0, 1.0, 0.5),
}
DECIBELS = (42, 41, 40, 39, 38, 37, 36, 34)
NONE = "none"


def kinds(clean: Image, seed: int) -> Iterator[tuple[str, Image]]:
    """Yield the picture as it is and in every weather, as a camera would store it."""
    yield "clear", clean
    for number, (name, severities) in enumerate(SEVERITIES.items()):
        for severity in severities:
            weather = replace(WEATHERS[name], severity=severity)
            degraded = weather(clean, np.random.default_rng([seed, number])).degraded
            yield f"{name} {severity:g}", np.rint(degraded * 255).astype(np.float32) / 255


def main(folder: Path, model: str) -> None:
    """Print the table."""
    restorer, scores = cmudrn.load(model, change_gating=False), defaultdict(list)
    for seed, path in enumerate(
        sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))
    ):
        clean = read_image(path)
        for kind, degraded in kinds(clean, seed):
            found = restore_image(
                restorer, from_float(degraded, np.dtype(np.uint8)), RestoreSettings(layers=True)
            )
            change = -found.residuals["fused"]
            scores[kind, "input"].append(psnr_rgb8(degraded, clean))
            scores[kind, NONE].append(psnr_rgb8(degraded + change, clean))
            for decibels in DECIBELS:
                height, width = clean.shape[:2]
                change_gating, restored = ChangeGate(height, width, decibels), degraded + change
                change_gating.add((slice(0, height), slice(0, width)), degraded, restored)
                change_gating.apply(degraded, restored)
                scores[kind, str(decibels)].append(psnr_rgb8(restored, clean))
    names = list(dict.fromkeys(kind for kind, _ in scores))
    print("| dB |", " | ".join(names), "|")
    print("|---|" + "---:|" * len(names))
    for row in ("input", NONE, *map(str, DECIBELS)):
        print(f"| {row} |", " | ".join(f"{np.mean(scores[name, row]):.2f}" for name in names), "|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder of clean pictures")
    parser.add_argument("model", nargs="?", default="cmudrn")
    options = parser.parse_args()
    main(options.pictures, options.model)
