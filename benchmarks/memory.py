"""Measure memory and time of `cmudrn restore` by image size: a table for docs/speed.md.

    python benchmarks/memory.py 1 12 100

Each image is restored by its own process, whose peak resident memory the system reports. Seconds
are those of the whole command: start, read, restore, write.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cmudrn.image import Picture, write_picture


def make_picture(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a 3:2 picture of shading, grain and streaks; return its (height, width).

    Its shades reach black: nothing looks like haze, which would be taken off in a second pass.
    """
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(megapixels * 1e6 / height)
    rng = np.random.default_rng(0)
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 256):
        y, x = np.mgrid[top : min(top + 256, height), :width].astype(np.float32)
        shade = 70 + 90 * np.sin(x / 97) * np.cos(y / 71) + 80 * ((x + y // 4) % 61 < 2)
        grain = rng.normal(0, 5, (*shade.shape, 3)).astype(np.float32)
        picture[top : top + 256] = (shade[..., None] + grain).clip(0, 255)
    write_picture(Picture(picture), path)
    return height, width


def restore(path: Path, options: list[str]) -> tuple[float, float]:
    """Return the seconds and the greatest resident megabytes of one command."""
    target = path.with_suffix(".restored.jpg")
    command = [sys.executable, "-m", "cmudrn", "restore", str(path), "-o", str(target)]
    command += ["--overwrite", *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024  # Linux counts in KiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megapixels", type=float, nargs="+")
    parser.add_argument("--options", default="", help="of cmudrn restore, e.g. --precision=fp32")
    chosen = parser.parse_args()
    print("| megapixels | size | seconds | seconds a megapixel | greatest memory, MB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in chosen.megapixels:
            path = Path(folder) / "picture.jpg"
            height, width = make_picture(path, megapixels)
            seconds, megabytes = restore(path, chosen.options.split())
            each = seconds / megapixels
            print(f"| {megapixels:g} | {width}x{height} | {seconds:.1f} ", end="")
            print(f"| {each:.2f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
