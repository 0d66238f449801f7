"""Photographs reduced and packed, so that they travel to another machine: under 50 MB.

    python tools/pack_photographs.py $CMUDRN_DATA/clean runs/photographs

Reads the folders train, train_urban and val of the first folder, and writes the same folders with
every photograph at 576 pixels or less on its longer side, as JPEG of quality 90.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageOps

FOLDERS = ("train", "train_urban", "val")
LONGEST, QUALITY = 576, 90


def main() -> None:
    """Pack the photographs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    total = 0
    for folder in FOLDERS:
        (given.into / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((given.photos / folder).iterdir()):
            if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
                continue
            target = given.into / folder / f"{path.stem}.jpg"
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
                picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
                picture.save(target, quality=QUALITY, subsampling=0)
            total += target.stat().st_size
    print(f"{total / 1e6:.1f} MB in {given.into}")


if __name__ == "__main__":
    main()
