"""Render the sample pictures: python benchmarks/make_samples.py KODAK24 samples"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cmudrn.image import from_float, read_picture, write_picture
from cmudrn.weather.presets import WEATHERS

SAMPLES = {"rain": (19, "csd-rain"), "drizzle": (4, "light-rain"), "snow": (21, "snow")}
"""File name -> (number of the Kodak picture, weather)."""

if __name__ == "__main__":
    from dataclasses import replace

    from cmudrn.image import to_float

    source, target = map(Path, sys.argv[1:3])
    for name, (number, weather) in SAMPLES.items():
        picture = read_picture(sorted(source.glob("*.png"))[number - 1])
        degraded = WEATHERS[weather](to_float(picture.pixels), np.random.default_rng(number))
        pixels = from_float(degraded.degraded, np.dtype(np.uint8))
        write_picture(replace(picture, pixels=pixels), target / f"{name}.jpg", quality=90)
