"""A sheet of the wider weathers: a photograph in each, and the layer laid over it.

python tools/weather_sheet.py ../shared/data/clean/test_kodak24/19.png wider-weather.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cmudrn.image import read_image
from cmudrn.weather.wider import WIDER

SIDE = 240


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photo", type=Path)
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    clean = read_image(given.photo)
    top, left = ((side - SIDE) // 2 for side in clean.shape[:2])
    clean = np.ascontiguousarray(clean[top : top + SIDE, left : left + SIDE])
    sheet = Image.new("RGB", (4 * SIDE, len(WIDER) // 2 * (SIDE + 14)), "white")
    for i, (name, weather) in enumerate(WIDER.items()):
        made = weather(clean, np.random.default_rng([7, i]))
        layer = np.repeat(next(iter(made.layers.values()))[..., None], 3, 2)
        x, y = 2 * SIDE * (i % 2), (i // 2) * (SIDE + 14)
        ImageDraw.Draw(sheet).text((x + 3, y), name, fill="black")
        for j, picture in enumerate((made.degraded, layer)):
            pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
            sheet.paste(Image.fromarray(pixels), (x + j * SIDE, y + 14))
    sheet.save(given.into, quality=88)


if __name__ == "__main__":
    main()
