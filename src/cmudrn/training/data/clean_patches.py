"""Clean photographs to cut training patches from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.datasets.folders import data_path
from cmudrn.errors import FileError
from cmudrn.files import list_folder
from cmudrn.image import read_image
from cmudrn.training.config import DataConfig
from cmudrn.training.data.synthetic_eaves import composite_eaves
from cmudrn.training.data.synthetic_paving import composite_paving
from cmudrn.training.data.synthetic_structures import composite_structure

Patch = NDArray[np.float32]

BLURRED = np.float32(70 / 256)
"""Standard deviation of white noise of deviation 1 after `blur`."""


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted by path.

    Raises:
        FileError: there are none.
    """
    paths = list(list_folder(folder, follow_links=True).images)
    if not paths:
        raise FileError(f"There are no images in {folder}.", path=folder)
    return paths


def reduce_picture(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return a (H, W, 3) picture with each factor x factor block averaged into one pixel."""
    height, width = (side // factor * factor for side in picture.shape[:2])
    total = np.zeros((height // factor, width // factor, 3), np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += picture[row:height:factor, column:width:factor]
    reduced: NDArray[np.uint8] = np.rint(total / factor**2).astype(np.uint8)
    return reduced


def crop_window(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return a random size x size window of a picture."""
    top = int(rng.integers(shape[0] - size + 1))
    left = int(rng.integers(shape[1] - size + 1))
    return slice(top, top + size), slice(left, left + size)


def turn(patch: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """Return one of the eight turned and mirrored versions of a square patch."""
    turned = np.rot90(patch, symmetry % 4)
    return turned[:, ::-1] if symmetry >= 4 else turned


def blur(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an (H, W, 3) patch under a binomial filter of 5 x 5, its edges repeated."""
    for axis in (0, 1):
        padded = np.pad(patch, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="edge")
        last = patch.shape[axis]
        parts = [padded[i : i + last] if axis == 0 else padded[:, i : i + last] for i in range(5)]
        patch = (parts[0] + parts[4] + 4 * (parts[1] + parts[3]) + 6 * parts[2]) / np.float32(16)
    return patch


class CleanPictures:
    """Random patches of clean pictures, all kept decoded in memory.

    Photographs differ in sharpness, in grain and in what people have built more than a few hundred
    of them show, and a network that has not seen these takes them for weather: patches are
    built upon, sharpened and grained at random.

    Args:
        folders: searched with their subfolders.
        reductions: integer factors at which each picture is used.
        size: pictures with a side shorter than this are left out.
        sharpen: greatest strength of the unsharp mask.
        grain: greatest standard deviation of the noise.
        structures: share of the patches with a structure drawn over them.
        paving: share of the patches with stones, kerbs or road markings drawn over them.
        eaves: share of the patches with the edge of a roof drawn over them.

    Raises:
        FileError: no image is big enough, or one cannot be read.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        reductions: Sequence[int],
        size: int,
        *,
        sharpen: float = 0.0,
        grain: float = 0.0,
        structures: float = 0.0,
        paving: float = 0.0,
        eaves: float = 0.0,
    ) -> None:
        self.sharpen, self.grain = sharpen, grain
        self.structures, self.paving, self.eaves = structures, paving, eaves
        self.pictures: list[NDArray[np.uint8]] = []
        for path in (path for folder in folders for path in list_pictures(folder)):
            picture = np.rint(read_image(path) * 255).astype(np.uint8)
            for factor in reductions:
                reduced = picture if factor == 1 else reduce_picture(picture, factor)
                if min(reduced.shape[:2]) >= size:
                    self.pictures.append(reduced)
        if not self.pictures:
            first, *_ = folders
            raise FileError(f"No image in {first} has {size} x {size} pixels.", path=first)

    @classmethod
    def of(cls, config: DataConfig, *folders: str) -> CleanPictures:
        """Return the pictures of folders, varied as a configuration says."""
        return cls(
            [data_path(folder) for folder in folders],
            config.reductions,
            config.patch,
            sharpen=config.sharpen,
            grain=config.grain,
            structures=config.structures,
            paving=config.paving,
            eaves=config.eaves,
        )

    def draw(self, size: int, rng: np.random.Generator) -> Patch:
        """Return a random (size, size, 3) float32 patch in [0, 1], turned and mirrored."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        patch = picture[crop_window(picture.shape, size, rng)].astype(np.float32) / np.float32(255)
        return self.vary(turn(patch, int(rng.integers(8))), rng)

    def vary(self, patch: Patch, rng: np.random.Generator) -> Patch:
        """Return a patch built upon, sharpened and grained at random."""
        if self.structures and rng.random() < self.structures:
            patch = composite_structure(patch, rng)
        if self.paving and rng.random() < self.paving:
            patch = composite_paving(patch, rng)
        if self.eaves and rng.random() < self.eaves:
            patch = composite_eaves(patch, rng)
        if self.sharpen:
            patch = patch + np.float32(rng.uniform(0, self.sharpen)) * (patch - blur(patch))
        if self.grain:
            noise = rng.standard_normal(patch.shape, np.float32)
            if rng.random() < 0.5:  # film grain is coarser than a pixel
                noise = blur(noise) / BLURRED
            patch = patch + np.float32(rng.uniform(0, self.grain)) * noise
        return np.clip(patch, 0, 1)
