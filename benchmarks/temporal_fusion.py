"""What five frames of a still scene are worth before the network.

    python benchmarks/temporal_fusion.py tests/data/clean/val

prints mean PSNR over pictures: the degraded frame, the network alone, the fused frame, and the
network on the fused frame; with sensor noise, and a disc that moves across, whose own PSNR is last.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import cmudrn
from cmudrn.image import Pixels, read_image
from cmudrn.video.temporal import fuse
from cmudrn.weather.presets import WEATHERS

NOISE = 2.0


def psnr(one: Pixels, other: Pixels, where: np.ndarray | None = None) -> float:
    """Return the PSNR of two uint8 images, of the masked pixels only if there is a mask."""
    error = (one.astype(float) - other) ** 2
    return float(10 * np.log10(255**2 / (error[where] if where is not None else error).mean()))


def disc(shape: tuple[int, int], number: int) -> np.ndarray:
    """Return where a disc of 40 pixels is in a frame; it moves 12 pixels a frame."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - shape[0] // 2) ** 2 + (x - 80 - 12 * number) ** 2 < 20**2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, help="folder of clean pictures")
    parser.add_argument("--weather", default="light-rain,snow,csd-rain")
    parser.add_argument("--limit", type=int, default=4)
    options = parser.parse_args()
    restorer = cmudrn.load(threads=2)
    paths = sorted(p for p in options.clean.rglob("*") if p.suffix in (".jpg", ".png"))
    print("| weather | degraded | network | fused | fused + network | disc: network | disc: both |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.weather.split(","):
        rows, cost = [], 0.0
        for index, path in enumerate(paths[: options.limit]):
            still = read_image(path)[:480, :640]
            rng = np.random.default_rng([7, index])
            scene = WEATHERS[name].scene(still.shape[:2], rng)
            frames, clean = [], []
            for number in range(5):
                moved = still.copy()
                moved[disc(still.shape[:2], number)] = (0.8, 0.6, 0.5)
                noisy = scene(moved, number).degraded * 255 + rng.normal(0, NOISE, still.shape)
                frames.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
                clean.append(np.rint(moved * 255).astype(np.uint8))
            start = time.perf_counter()
            fused = fuse(frames, frames[2])
            cost += time.perf_counter() - start
            alone, both = restorer(frames[2]), restorer(fused)
            results = [psnr(image, clean[2]) for image in (frames[2], alone, fused, both)]
            where = disc(still.shape[:2], 2)
            rows.append([*results, *(psnr(image, clean[2], where) for image in (alone, both))])
        cells = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
        print(f"| {name} | {cells} |  {1000 * cost / len(rows):.0f} ms a fusion", flush=True)


if __name__ == "__main__":
    main()
