"""Render the sample images.

python tools/make_samples.py KODAK24 samples
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmudrn.image import from_float, read_picture, to_float, write_picture
from cmudrn.weather.presets import WEATHERS

SAMPLES = {"rain": (19, "csd-rain"), "drizzle": (4, "light-rain"), "snow": (21, "snow")}
"""File name -> (number of the Kodak picture, weather)."""


def main(source: Path, target: Path) -> None:
    """Render every sample from a folder with Kodak's 24 pictures."""
    for name, (number, weather) in SAMPLES.items():
        picture = read_picture(sorted(source.glob("*.png"))[number - 1])
        made = WEATHERS[weather](to_float(picture.pixels), np.random.default_rng(number))
        pixels = from_float(made.degraded, np.uint8)
        write_picture(replace(picture, pixels=pixels), target / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kodak", type=Path, help="folder with Kodak's 24 pictures")
    parser.add_argument("samples", type=Path, help="folder of the samples")
    options = parser.parse_args()
    main(options.kodak, options.samples)
