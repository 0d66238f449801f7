"""Choose how strict change gating is for a model, or that it has none.

    python tools/fit_change_gating.py MODEL PHOTOGRAPHS

PHOTOGRAPHS holds the folders `val` and `val_urban` of clean pictures. Prints mean and worst RGB
PSNR of the 8-bit results without change gating and for several thresholds, and the choice: of the
thresholds that cost at most `MAX_LOSS` dB in the mean of every weather, the one that gives clear
pictures most; none where that is less than `MIN_GAIN` dB.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from fit_weather_classifier import pictures

import cmudrn
from cmudrn.evaluation.metrics import psnr_rgb8
from cmudrn.image import Image, read_image
from cmudrn.restoration.change_gating import ChangeGate
from cmudrn.weather import WEATHERS

FOLDERS = ("val", "val_urban")
DECIBELS = (48.0, 46.0, 44.0, 42.0, 41.0, 40.0, 39.0, 38.0, 36.0)
WEATHER = {"light-rain": (3.0, 1.0), "light-snow": (1.0,)}
MAX_LOSS = 0.1
"""dB; less cannot be seen."""
MIN_GAIN = 0.5

Scores = dict[tuple[str, float | None], list[float]]
"""(kind of picture, threshold or None for no gating) -> PSNR of each picture, dB."""


def kinds(clean: Image, seed: int) -> Iterator[tuple[str, Image]]:
    """Yield an image as it is and in light weather, as a camera would store it."""
    yield "clear", clean
    for number, (name, severities) in enumerate(WEATHER.items()):
        for severity in severities:
            weather = replace(WEATHERS[name], severity=severity)
            degraded = weather(clean, np.random.default_rng([seed, number])).degraded
            yield f"{name} {severity:g}", np.rint(degraded * 255).astype(np.float32) / 255


def measure(model: str | Path, photographs: Path) -> Scores:
    """Return the PSNR of every picture with every threshold."""
    restorer = cmudrn.load(model, threads=1, precision="fp32", change_gating=False)
    scores: Scores = {}
    paths = [path for folder in FOLDERS for path in pictures(photographs / folder)]
    for seed, path in enumerate(paths):
        clean = read_image(path)
        for kind, degraded in kinds(clean, seed):
            restored = restorer(degraded, dehaze=False)
            for decibels in (None, *DECIBELS):
                gated = restored if decibels is None else gate(degraded, restored, decibels)
                scores.setdefault((kind, decibels), []).append(psnr_rgb8(gated, clean))
    return scores


def gate(degraded: Image, restored: Image, decibels: float) -> Image:
    """Return the restored image after change gating."""
    height, width = degraded.shape[:2]
    gated, change_gate = restored.copy(), ChangeGate(height, width, decibels)
    change_gate.add((slice(0, height), slice(0, width)), degraded, restored)
    change_gate.apply(degraded, gated)
    return gated


def choose(scores: Scores) -> float | None:
    """Return the threshold, in dB; None where change gating gains too little."""
    mean = {key: float(np.mean(values)) for key, values in scores.items()}
    weathers = {kind for kind, _ in mean} - {"clear"}
    harmless = [
        decibels
        for decibels in DECIBELS
        if all(mean[kind, decibels] >= mean[kind, None] - MAX_LOSS for kind in weathers)
    ]
    best = max(harmless, key=lambda decibels: mean["clear", decibels], default=None)
    if best is None or mean["clear", best] - mean["clear", None] < MIN_GAIN:
        return None
    return best


def table(scores: Scores) -> str:
    """Return mean / worst PSNR by threshold, as Markdown."""
    names = list(dict.fromkeys(kind for kind, _ in scores))
    lines = [f"| dB | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for decibels in (None, *DECIBELS):
        cells = (scores[name, decibels] for name in names)
        row = " | ".join(f"{np.mean(cell):.2f} / {min(cell):.2f}" for cell in cells)
        lines.append(f"| {'none' if decibels is None else f'{decibels:g}'} | {row} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a shipped model's name, or a file")
    parser.add_argument("photographs", type=Path, help="folder of the folders of clean pictures")
    options = parser.parse_args()
    found = measure(options.model, options.photographs)
    print(table(found))
    chosen = choose(found)
    print(f"\nChosen: {'no change gating' if chosen is None else f'{chosen:g} dB'}.")
