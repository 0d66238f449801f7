"""Draw what the detector finds in clean photographs, to see how much of the reference is right.

    python tools/draw_detections.py DETECTOR CLEAN OUT [--most N]

CLEAN is a folder of photographs. OUT/drawn gets those in which something is found, people framed in
red and vehicles in green; OUT/photographs gets the photographs themselves, so that OUT/photographs
is a set for `cmudrn evaluate`. A line for each find goes to the standard output. With --most only
the N photographs with the most finds are written.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from cmudrn.datasets.files import list_pictures
from cmudrn.evaluation.detection import PERSON, Detection, confident
from cmudrn.evaluation.object_detector import open_detector
from cmudrn.image import Image, Picture, from_float, read_image, write_picture

COLOURS = {True: (1.0, 0.0, 0.0), False: (0.0, 1.0, 0.0)}
"""Whether a person is framed -> colour of the frame."""
LINE = 2
"""Width of the frame in pixels."""


def draw(image: Image, detections: list[Detection]) -> Image:
    """Return a copy of a picture with the detections framed."""
    drawn = image.copy()
    for one in detections:
        left, top, right, bottom = (round(edge) for edge in one.box)
        colour = COLOURS[one.kind == PERSON]
        drawn[top : top + LINE, left:right] = colour
        drawn[max(bottom - LINE, 0) : bottom, left:right] = colour
        drawn[top:bottom, left : left + LINE] = colour
        drawn[top:bottom, max(right - LINE, 0) : right] = colour
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("clean", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--most", type=int, help="the photographs with the most finds only")
    arguments = parser.parse_args()
    detect = open_detector(arguments.detector, threads=1)
    found = {path: confident(detect(read_image(path))) for path in list_pictures(arguments.clean)}
    ranked = sorted((path for path in found if found[path]), key=lambda path: -len(found[path]))
    for folder in ("drawn", "photographs"):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    for path in ranked[: arguments.most]:
        drawn = Picture(from_float(draw(read_image(path), found[path]), np.uint8))
        write_picture(drawn, (arguments.out / "drawn" / path.name).with_suffix(".png"))
        shutil.copyfile(path, arguments.out / "photographs" / path.name)
        for one in found[path]:
            box = " ".join(f"{edge:.0f}" for edge in one.box)
            print(f"{path.name}\t{one.kind}\t{one.confidence:.2f}\t{box}")


if __name__ == "__main__":
    main()
