"""Photographs reduced and packed, so that they travel to another machine: 31 MB.

    python tools/pack_photographs.py $CMUDRN_DATA/clean runs/photographs

Reads the folders train, train_urban and val of the first folder, and writes the same folders with
every photograph reduced, as WebP of quality 84.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageOps

LONGEST = {"train": 768, "train_urban": 640, "val": 512}
"""Folder -> pixels of a photograph's longer side at most."""
QUALITY = 84


def main() -> None:
    """Pack the photographs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("into", type=Path)
    given = parser.parse_args()
    total = 0
    for folder, longest in LONGEST.items():
        (given.into / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((given.photos / folder).iterdir()):
            if path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
                continue
            target = given.into / folder / f"{path.stem}.webp"
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
                picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
                picture.save(target, quality=QUALITY, method=4)
            total += target.stat().st_size
    print(f"{total / 1e6:.1f} MB in {given.into}")


if __name__ == "__main__":
    main()
