"""Draw a figure of every weather preset on a few images, for docs/weather.md.

    python tools/draw_weather_sheet.py FIGURE.jpg PICTURE... [--wider]

Each image takes two rows: itself and then every preset, on a window of WINDOW pixels at 1:1.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cmudrn.evaluation.comparison_figure import Cell, draw_sheet
from cmudrn.evaluation.metrics import psnr_rgb
from cmudrn.image import Image, Picture, from_float, read_image, write_picture
from cmudrn.weather import WEATHERS
from cmudrn.weather.wider import WIDER

WINDOW = (260, 390)
"""Rows and columns from the middle of a picture: as many dots as the sheet has for them."""
COLUMNS = 4
SEED, WIDER_SEED = 2, 5
"""Of the weather: ones that show what is typical of every preset."""
QUALITY = 78
"""Of the JPEG: the sheet is for looking at."""


def cells(clean: Image, names: list[str], seed: int) -> list[Cell]:
    """Return the picture's window, clean and in every weather; the score is the whole picture's."""
    top, left = ((side - shown) // 2 for side, shown in zip(clean.shape[:2], WINDOW, strict=True))
    window = slice(top, top + WINDOW[0]), slice(left, left + WINDOW[1])
    drawn = [Cell("clean", clean[window])]
    for name in names:
        degraded = WEATHERS[name](clean, np.random.default_rng(seed)).degraded
        drawn.append(Cell(f"{name}, {psnr_rgb(degraded, clean):.1f} dB", degraded[window]))
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("figure", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--wider", action="store_true", help="the wider weathers alone")
    arguments = parser.parse_args()
    names = [name for name in WEATHERS if (name in WIDER) == arguments.wider]
    seed = WIDER_SEED if arguments.wider else SEED
    rows = []
    for path in arguments.pictures:
        row = cells(read_image(path), names, seed)
        rows += [("", row[first : first + COLUMNS]) for first in range(0, len(row), COLUMNS)]
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        sheet.write_bytes(draw_sheet(rows))
        pixels = from_float(read_image(sheet), np.uint8)
    write_picture(Picture(pixels), arguments.figure, quality=QUALITY)


if __name__ == "__main__":
    main()
