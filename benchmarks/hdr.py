"""In which space PQ is restored best: PSNR of the PQ values, dB.

    python benchmarks/hdr.py $CMUDRN_DATA/clean/test_kodak24

Photographs in rain and snow become PQ, their white 203 cd/m^2 as in ITU-R BT.2408. They are
restored as PQ, and behind the curve of `cmudrn.video.hdr`, which is how clips are restored.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import cmudrn
from cmudrn.image import Image, read_image
from cmudrn.video.hdr import from_pq, to_pq
from cmudrn.weather.presets import WEATHERS

WHITE = 203
"""Light of a photograph's white, cd/m^2."""


def as_pq(image: Image) -> np.ndarray:
    """Return sRGB in [0, 1] as PQ in [0, 1]."""
    light = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    power = (light * WHITE / 10_000) ** (2610 / 16384)
    ratio = (3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)
    return np.asarray(ratio ** (2523 / 32))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Return the PSNR of values in [0, 1]."""
    return float(-10 * np.log10(np.mean((one.astype(float) - other) ** 2)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, help="folder of clean photographs")
    parser.add_argument("--weather", default="light-rain,snow,csd-rain")
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--pictures", type=int, default=4)
    options = parser.parse_args()
    restorer = cmudrn.load(options.model, threads=1)
    stills = [read_image(p)[:256, :384] for p in sorted(options.clean.glob("*.png"))[4::5]]
    print("| weather | degraded | restored in PQ | restored behind the curve of HLG |")
    print("|---|---:|---:|---:|")
    for weather in options.weather.split(","):
        rows = []
        for index, still in enumerate(stills[: options.pictures]):
            shape = (still.shape[0], still.shape[1])
            scene = WEATHERS[weather].scene(shape, np.random.default_rng([7, index]))
            clean = as_pq(still)
            raw = np.rint(as_pq(scene(still).degraded) * 65535).astype(np.uint16)
            both = (restorer(raw), to_pq(restorer(from_pq(raw))))
            rows.append([psnr(image / 65535, clean) for image in (raw, *both)])
        print(f"| {weather} |", " | ".join(f"{v:.2f}" for v in np.mean(rows, axis=0)), "|")
    frame = np.random.default_rng(0).integers(0, 65536, (720, 1280, 3)).astype(np.uint16)
    begin = time.process_time()
    to_pq(from_pq(frame))
    print(f"there and back at 1280x720: {1000 * (time.process_time() - begin):.0f} ms")


if __name__ == "__main__":
    main()
