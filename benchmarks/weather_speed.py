"""Count degraded training patches a second on one core: a table for docs/weather.md.

    python benchmarks/weather_speed.py CLEAN

CLEAN is a folder of clean images. Each source makes patches as training does: a rotated and
mirrored crop of a decoded image, with weather from screens that are rendered at the first patch.
"pairs" are crops of pairs on disk, decoded once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from cmudrn.datasets import open_dataset
from cmudrn.datasets.rendering import Rendering, render_folder
from cmudrn.evaluation.table import FORMATS
from cmudrn.training.data.batches import PatchSource
from cmudrn.training.data.clean_patches import CleanPictures
from cmudrn.training.data.sources import PairPatches, WeatherPatches
from cmudrn.weather import WEATHERS, PatchWeather

SIZE = 64
BATCH = 16
"""Patches of a step, each from a generator of its own as in training."""
WARM = 400
"""Patches made before the clock starts: screens are rendered and pairs decoded."""


def rate(source: PatchSource, seconds: float) -> float:
    """Return patches a second of processor time."""

    def make(first: int) -> None:
        for number in range(first, first + BATCH):
            source(SIZE, np.random.default_rng([0, number]))

    made = 0
    while made < WARM:
        make(made)
        made += BATCH
    began, warm = time.process_time(), made
    while time.process_time() - began < seconds:
        make(made)
        made += BATCH
    return (made - warm) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clean", type=Path)
    parser.add_argument("--seconds", type=float, default=3, help="for each source")
    arguments = parser.parse_args()
    clean, weather = CleanPictures([arguments.clean], (1,), SIZE), PatchWeather()
    sources: dict[str, PatchSource] = {
        name: WeatherPatches(clean, weather, name) for name in ("clear", *WEATHERS)
    }
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "csd"
        render_folder(Rendering(arguments.clean, target, "snow", "csd-snow"))
        pairs = PairPatches(open_dataset(f"folder:{target / 'Snow'},{target / 'Gt'}"))
        sources["pairs"] = pairs
        rows = [[name, f"{rate(s, arguments.seconds):,.0f}"] for name, s in sources.items()]
    print(FORMATS["markdown"]([["source", "patches/s"], *rows]))


if __name__ == "__main__":
    main()
