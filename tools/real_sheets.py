"""Real photographs beside what models make of them, for looking at.

    python tools/real_sheets.py PHOTOS INTO runs/x/last.safetensors cmudrn

For every photograph one PNG file: the input, each model's result, and (doubled, about grey) what
each took away. Nothing is measured: there is no ground truth. Look for people, limbs, vehicles,
signs and paving that are gone, and for weather that stayed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import score_checkpoint
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cmudrn.image import read_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def to_8_bit(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return (H, W, 3) in [0, 1] as 8 bit."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def main() -> None:
    """Write a sheet for every photograph below a folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--longest", type=int, default=1280, help="photographs are reduced to this")
    parser.add_argument("--no-difference", action="store_true")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    models = {name: score_checkpoint.open_model(name) for name in given.models}
    for path in sorted(p for p in given.photos.rglob("*") if p.suffix.lower() in SUFFIXES):
        photo = Image.fromarray(to_8_bit(read_image(path)))
        photo.thumbnail((given.longest, given.longest), Image.Resampling.LANCZOS)
        picture = np.asarray(photo, np.float32) / 255
        panels = {"input": picture}
        for name, restore in models.items():
            panels[name] = np.asarray(restore(picture), np.float32)
        if not given.no_difference:
            for name in given.models:
                panels[f"taken away by {name}"] = 0.5 + 2 * (picture - panels[name]) / 2
        height, width = picture.shape[:2]
        sheet = Image.new("RGB", (width * len(panels), height + 16), "white")
        for i, (name, panel) in enumerate(panels.items()):
            sheet.paste(Image.fromarray(to_8_bit(panel)), (i * width, 16))
            ImageDraw.Draw(sheet).text((i * width + 4, 2), name, fill="black")
        sheet.save(given.into / f"{path.stem}.png")
        print(path.name, f"{width} x {height}", flush=True)


if __name__ == "__main__":
    main()
