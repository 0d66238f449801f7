"""Development sets whose weather other people's programs made: for choosing, never for training.

    python -m venv .venv-foreign
    .venv-foreign/bin/pip install -r tools/foreign-requirements.txt
    .venv-foreign/bin/python tools/foreign_sets.py PHOTOS INTO

Every set is a folder INTO/NAME with `input` and `target`, as `cmudrn evaluate --data folder:...`
reads it. The same photographs give the same files. What moves or recolours the scene itself
(drops on the lens, fog, a darker sky) is switched off or left out: the target is the photograph.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

for _old, _new in {"bool": bool, "int": int, "float": float, "complex": complex}.items():
    setattr(np, _old, _new)  # imgaug 0.4.0 uses names that NumPy has dropped since

import albumentations  # noqa: E402
from imagecorruptions import corruptions  # noqa: E402
from imgaug import augmenters  # noqa: E402

Pixels = NDArray[np.uint8]
LONGEST = 768
"""Photographs are reduced to this longer side: the programs draw by pixels."""


def imgaug_rain(
    size: tuple[float, float], speed: tuple[float, float]
) -> Callable[[Pixels, int], Pixels]:
    """Return imgaug's rain; size and speed are its `drop_size` and `speed`."""

    def make(picture: Pixels, seed: int) -> Pixels:
        rain = augmenters.Rain(nb_iterations=(1, 3), drop_size=size, speed=speed, seed=seed)
        return np.asarray(rain(image=picture))

    return make


def imgaug_snow(picture: Pixels, seed: int) -> Pixels:
    """Return the picture in imgaug's falling snow."""
    snow = augmenters.Snowflakes(
        density=(0.01, 0.06), flake_size=(0.2, 0.7), speed=(0.007, 0.03), seed=seed
    )
    return np.asarray(snow(image=picture))


def albumentations_rain(kind: str) -> Callable[[Pixels, int], Pixels]:
    """Return albumentations' rain without its darkening and blur of the scene."""

    def make(picture: Pixels, seed: int) -> Pixels:
        rain = albumentations.RandomRain(
            slant_range=(-15, 15),
            drop_color=(200, 200, 200),
            blur_value=1,
            brightness_coefficient=1.0,
            rain_type=kind,
            p=1.0,
        )
        whole = albumentations.Compose([rain], seed=seed)
        return np.asarray(whole(image=picture)["image"])

    return make


def corruption_snow(picture: Pixels, seed: int) -> Pixels:
    """Return the picture under the snow layer of ImageNet-C's severity 1, scene not whitened."""
    random.seed(seed)
    np.random.seed(seed)  # the package draws from the global state
    height, width = picture.shape[:2]
    side = max(height, width)
    layer = np.random.normal(0.1, 0.3, (side, side))
    layer = corruptions.clipped_zoom(layer[..., None], 3)
    layer[layer < 0.5] = 0
    layer = np.clip(layer.squeeze(), 0, 1).astype(np.float32)
    angle = np.random.uniform(-135, -45)
    layer = corruptions._motion_blur(np.rint(layer * 255).astype(np.uint8), 10, 4, angle) / 255.0  # noqa: SLF001
    layer = layer[:height, :width, None]
    return np.clip(picture + 255 * (layer + np.rot90(layer, 2)), 0, 255).astype(np.uint8)


SETS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "imgaug-rain-small": imgaug_rain((0.01, 0.02), (0.04, 0.20)),
    "imgaug-rain-medium": imgaug_rain((0.10, 0.20), (0.06, 0.15)),
    "imgaug-rain-large": imgaug_rain((0.30, 0.50), (0.10, 0.30)),
    "imgaug-snow": imgaug_snow,
    "albumentations-drizzle": albumentations_rain("drizzle"),
    "albumentations-heavy": albumentations_rain("heavy"),
    "albumentations-torrential": albumentations_rain("torrential"),
    "corruption-snow": corruption_snow,
}


def main() -> None:
    """Make every set of the photographs in a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("photos", type=Path)
    parser.add_argument("into", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    given = parser.parse_args()
    paths = sorted(
        p for p in given.photos.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg"}
    )
    for name in given.only:
        for part in ("input", "target"):
            (given.into / name / part).mkdir(parents=True, exist_ok=True)
        for seed, path in enumerate(paths):
            picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            scale = LONGEST / max(picture.shape[:2])
            if scale < 1:
                picture = cv2.resize(
                    picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
                )
            degraded = SETS[name](picture.copy(), seed)
            for part, pixels in (("input", degraded), ("target", picture)):
                target = given.into / name / part / f"{path.stem}.png"
                cv2.imwrite(str(target), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        error = [
            np.mean(
                (
                    _read(given.into / name / "input" / f"{p.stem}.png").astype(float)
                    - _read(given.into / name / "target" / f"{p.stem}.png")
                )
                ** 2
            )
            for p in paths
        ]
        print(
            name, f"{np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3))):.2f} dB", flush=True
        )


def _read(path: Path) -> Pixels:
    return np.asarray(cv2.imread(str(path)))


if __name__ == "__main__":
    main()
