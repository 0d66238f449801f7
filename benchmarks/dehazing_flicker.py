"""Measure how much dehazing flickers in a video, frame by frame and smoothed.

    python benchmarks/dehazing_flicker.py $CMUDRN_DATA/clean/val

Prints the table of docs/video.md. Each image is the still background of a sequence of veiled snow.
Each frame is dehazed, and its mean brightness compared with that of the frame before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import cmudrn
from cmudrn.image import Image, read_image
from cmudrn.restoration.dehazing import VeilCorrection
from cmudrn.restoration.temporal_smoothing import VeilSmoother
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.weather.presets import WEATHERS


def brightness(frames: list[Image], veils: list[VeilCorrection]) -> list[float]:
    """Return the mean of each frame, in 255ths, without its veil."""
    shape = frames[0].shape[:2]
    area = (slice(0, shape[0]), slice(0, shape[1]))
    return [255 * float(veil(f, area, shape).mean()) for f, veil in zip(frames, veils, strict=True)]


def step(values: list[float]) -> float:
    return float(np.abs(np.diff(values)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, help="folder of clean pictures")
    parser.add_argument("--weather", default="csd-snow")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--limit", type=int, default=6)
    options = parser.parse_args()
    restorer = cmudrn.load("cmudrn", threads=1)
    print("| picture | mean of -log t | veiled | each frame alone | smoothed |")
    print("|---|---:|---:|---:|---:|")
    for index, path in enumerate(list_pictures(options.clean)[: options.limit]):
        clean, rng = read_image(path), np.random.default_rng([24, index])
        scene = WEATHERS[options.weather].scene(clean.shape[:2], rng)
        frames = [scene(clean, number).degraded for number in range(options.frames)]
        veils = [veil for veil in map(restorer.estimate_veil, frames) if veil]
        smooth = VeilSmoother()
        smoothed = [veil for veil in map(smooth, veils) if veil]
        steps = [
            step([255 * float(frame.mean()) for frame in frames]),
            step(brightness(frames, veils)),
            step(brightness(frames, smoothed)),
        ]
        thickness = np.log([veil.gain for veil in veils]).mean()
        cells = " | ".join(f"{value:.2f}" for value in steps)
        print(f"| {path.stem} | {thickness:.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
