"""Small dataset trees for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow


def scene(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return an (H, W, 3) uint8 picture that looks like no other number's: smooth blobs."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: size[0], : size[1]] / 64
    picture = np.zeros((*size, 3))
    for _ in range(12):
        y, x, width = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.08, 0.3)
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / width**2)
        picture += blob[..., None] * rng.uniform(-1, 1, 3)
    low, high = picture.min(), picture.max()
    return np.rint(255 * (picture - low) / (high - low)).astype(np.uint8)


def save(pixels: np.ndarray, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path, **options)
    return path


def snowy(clean: np.ndarray, number: int) -> np.ndarray:
    spots = np.random.default_rng([number, 1]).random(clean.shape[:2]) > 0.9
    return np.where(spots[..., None], 255, clean).astype(np.uint8)


def make_csd(root: Path, train: int = 10, test: int = 2, degraded: str = "Snow") -> Path:
    """Write a tree in CSD's layout; picture N of a part shows scene N // 2 of that part."""
    for part, count in (("Train", train), ("Test", test)):
        for number in range(1, count + 1):
            clean = scene((number - 1) // 2 + 100 * (part == "Test"))
            save(clean, root / part / "Gt" / f"{number}.tif")
            save(snowy(clean, number), root / part / degraded / f"{number}.tif")
            save(clean[..., 0], root / part / "Mask" / f"{number}.tif")
    return root
