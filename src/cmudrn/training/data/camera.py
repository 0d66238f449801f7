"""What cameras do after the weather, done alike to the degraded patch and to the clean one.

A network that removes weather is not to remove grain or the marks of compression: whatever is laid
over the degraded patch is laid over the target too, from the same random numbers. Where there is
no weather the two stay the same, and there is nothing to be learnt but to leave it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Patch = NDArray[np.float32]

LUMINANCE = np.array(
    [
        "16",
        "11",
        "10",
        "16",
        "24",
        "40",
        "51",
        "61",
        "12",
        "12",
        "14",
        "19",
        "26",
        "58",
        "60",
        "55",
        "14",
        "13",
        "16",
        "24",
        "40",
        "57",
        "69",
        "56",
        "14",
        "17",
        "22",
        "29",
        "51",
        "87",
        "80",
        "62",
        "18",
        "22",
        "37",
        "56",
        "68",
        "109",
        "103",
        "77",
        "24",
        "35",
        "55",
        "64",
        "81",
        "104",
        "113",
        "92",
        "49",
        "64",
        "78",
        "87",
        "103",
        "121",
        "120",
        "101",
        "72",
        "92",
        "95",
        "98",
        "112",
        "100",
        "103",
        "99",
    ],
    np.float32,
).reshape(8, 8)
"""Quantisation of luminance at quality 50 (JPEG, Annex K); colour is taken as the same, doubled."""
TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
)
FROM_YCC = np.linalg.inv(TO_YCC).astype(np.float32)


@cache
def cosines() -> Patch:
    """Return the (8, 8) matrix of the orthonormal cosine transform."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    rows = np.cos(np.pi * (n + 0.5) * k / 8) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    return rows.astype(np.float32)


def compress(patch: Patch, quality: float, corner: tuple[int, int]) -> Patch:
    """Return a patch as JPEG leaves it.

    Args:
        patch: (h, w, 3) in [0, 1].
        quality: 1 to 100, as libjpeg counts it.
        corner: row and column of the patch in the blocks of 8 x 8, each below 8.
    """
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.clip(LUMINANCE * np.float32(scale / 100), 1, 255) / np.float32(255)
    height, width = patch.shape[:2]
    pads = [
        (first, -(first + side) % 8) for first, side in zip(corner, (height, width), strict=True)
    ]
    ycc = np.pad(patch @ TO_YCC.T, [*pads, (0, 0)], mode="edge").transpose(2, 0, 1)
    rows, columns = (side // 8 for side in ycc.shape[1:])
    blocks = ycc.reshape(3, rows, 8, columns, 8).transpose(0, 1, 3, 2, 4)
    turned = cosines() @ blocks @ cosines().T
    steps = np.stack([table, 2 * table, 2 * table])[:, None, None]
    back = cosines().T @ (np.rint(turned / steps) * steps) @ cosines()
    whole = back.transpose(0, 1, 3, 2, 4).reshape(3, rows * 8, columns * 8).transpose(1, 2, 0)
    inside = whole[corner[0] : corner[0] + height, corner[1] : corner[1] + width]
    compressed: Patch = np.clip(inside @ FROM_YCC.T, 0, 1).astype(np.float32)
    return compressed


def soften(patch: Patch, strength: float) -> Patch:
    """Return a patch under a binomial filter of 3 x 3 (strength 1), or sharpened (below 0)."""
    padded = np.pad(patch, [(1, 1), (1, 1), (0, 0)], mode="edge")
    across = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / np.float32(4)
    soft = (across[:-2] + 2 * across[1:-1] + across[2:]) / np.float32(4)
    softened: Patch = patch + np.float32(strength) * (soft - patch)
    return softened


def take_picture(patches: list[Patch], rng: np.random.Generator) -> list[Patch]:
    """Return patches of one place as one camera gives them, all with the same faults.

    Args:
        patches: each (h, w, 3) in [0, 1].
        rng: source of all randomness.
    """
    shape = patches[0].shape
    if rng.random() < 0.5:  # a sensor's noise, coarser where the camera interpolates colours
        noise = rng.standard_normal(shape, np.float32)
        if rng.random() < 0.6:
            noise = soften(noise, 1.0) * np.float32(2)
        if rng.random() < 0.5:
            noise = (noise + noise.mean(2, keepdims=True)) / np.float32(1.2)
        noise *= np.float32(np.exp(rng.uniform(np.log(0.003), np.log(0.04))))
        patches = [p + noise for p in patches]
    if rng.random() < 0.5:
        strength = float(rng.uniform(-1.5, 0.9))
        patches = [soften(p, strength) for p in patches]
    patches = [np.clip(p, 0, 1) for p in patches]
    if rng.random() < 0.6:
        quality = float(rng.uniform(35, 97))
        corner = (int(rng.integers(8)), int(rng.integers(8)))
        patches = [compress(p, quality, corner) for p in patches]
    return [p.astype(np.float32) for p in patches]
