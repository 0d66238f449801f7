"""Pictures that look the same: after re-encoding, resizing, turning or mirroring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.image.preview import picture_size, thumbnail

SIDE = 32
"""Of the picture that is hashed, pixels."""

NEAR = 12
"""Bits of 64 in which the hashes of two pictures to be compared may differ."""

COMPARED = 96
"""Greatest side in pixels of the pictures that are compared. It is at most half the smaller side of
both, but not less than `SIDE`: what encoding does to single pixels does not count."""

LARGEST_ERROR = 0.035
"""Root mean square difference of two pictures that show the same, of a range of 1."""

MIN_CORRELATION = 0.95
"""Of two pictures that show the same; tells dark or flat pictures apart."""

SYMMETRIES = (
    "as it is", "turned by 90 degrees", "turned by 180 degrees", "turned by 270 degrees",
    "mirrored", "mirrored, turned by 90 degrees", "flipped", "mirrored, turned by 270 degrees",
)  # fmt: skip


@dataclass(frozen=True)
class Match:
    """Two pictures that show the same.

    Attributes:
        first: number in the first list.
        second: number in the second list.
        how: what makes the first out of the second, one of `SYMMETRIES`.
        error: root mean square difference as they are compared, of a range of 1.
    """

    first: int
    second: int
    how: str
    error: float


def turned(picture: NDArray[np.uint8], symmetry: int) -> NDArray[np.uint8]:
    """Return a square picture mirrored (4 to 7) and turned by symmetry % 4 quarters."""
    mirrored = picture[:, ::-1] if symmetry >= 4 else picture
    return np.rot90(mirrored, symmetry % 4)


def hash_look(picture: NDArray[np.uint8]) -> np.uint64:
    """Return 64 bits of a (32, 32, 3) uint8 picture: signs of its lowest cosine frequencies.

    The mean brightness is left out, and each sign is taken against the median.
    """
    grey = picture.astype(np.float64).mean(2)
    frequencies = (_COSINES @ grey @ _COSINES.T).ravel()[1:65]
    bits = np.packbits(frequencies > np.median(frequencies))
    return np.uint64(int.from_bytes(bits.tobytes(), "little"))


def _cosines() -> NDArray[np.float64]:
    """Return the nine lowest rows of the cosine transform, of which 8 x 8 and one are used."""
    rows, columns = np.mgrid[:9, :SIDE]
    return np.asarray(np.cos(np.pi * rows * (2 * columns + 1) / (2 * SIDE)))


_COSINES = _cosines()


def hash_pictures(paths: Sequence[Path]) -> NDArray[np.uint64]:
    """Return (N, 8) hashes: of each picture under every symmetry.

    Raises:
        CmudrnError: a picture cannot be read.
    """
    hashes = np.empty((len(paths), 8), np.uint64)
    for row, path in zip(hashes, paths, strict=True):
        small = thumbnail(path, SIDE)
        row[:] = [hash_look(turned(small, symmetry)) for symmetry in range(8)]
    return hashes


def find_matches(
    first: Sequence[Path],
    second: Sequence[Path] | None = None,
    hashes: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None,
) -> list[Match]:
    """Return which pictures of two lists show the same, confirmed at their pixels.

    Args:
        first: picture files.
        second: picture files; None looks for pictures that are in the first list twice.
        hashes: of `hash_pictures`, where they are known.

    Raises:
        CmudrnError: a picture cannot be read.
    """
    within = second is None
    others = first if second is None else second
    if hashes is None:
        ours = hash_pictures(first)
        hashes = (ours, ours if within else hash_pictures(others))
    matches: dict[tuple[int, int], Match] = {}
    for one, other, symmetry in _candidates(*hashes):
        if (one, other) in matches or (within and one >= other):
            continue
        error = _difference(first[one], others[other], symmetry)
        if error is not None:
            matches[one, other] = Match(one, other, SYMMETRIES[symmetry], error)
    return list(matches.values())


def find_scenes(paths: Sequence[Path]) -> list[int]:
    """Return a scene's number for each picture: the same for pictures that show the same.

    Scenes are numbered from 0 in the order in which they first appear.

    Raises:
        CmudrnError: a picture cannot be read.
    """
    parent = list(range(len(paths)))

    def root(picture: int) -> int:
        while parent[picture] != picture:
            picture = parent[picture]
        return picture

    for match in find_matches(paths):
        low, high = sorted((root(match.first), root(match.second)))
        parent[high] = low
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(picture), len(numbers)) for picture in range(len(paths))]


def _candidates(
    first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> Iterator[tuple[int, int, int]]:
    """Yield (row of first, row of second, symmetry of second) where the hashes are near."""
    for one, plain in enumerate(first[:, 0]):
        distances = np.bitwise_count(second ^ plain)
        for other, symmetry in np.argwhere(distances <= NEAR):
            yield one, int(other), int(symmetry)


def _difference(first: Path, second: Path, symmetry: int) -> float | None:
    """Return how far two pictures are from each other, or None if they show different things."""
    side = max(SIDE, min(COMPARED, _shorter_side(first) // 2, _shorter_side(second) // 2))
    one = _small(first, side).astype(np.float32)
    other = turned(_small(second, side), symmetry).astype(np.float32)
    error = float(np.sqrt(np.mean((one - other) ** 2))) / 255
    if error > LARGEST_ERROR:
        return None
    if one.std() == 0 or other.std() == 0:
        return error if error == 0 else None
    correlation = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    return error if correlation >= MIN_CORRELATION else None


@lru_cache(maxsize=4096)
def _shorter_side(path: Path) -> int:
    return min(picture_size(path))


@lru_cache(maxsize=4096)
def _small(path: Path, side: int) -> NDArray[np.uint8]:
    return thumbnail(path, side)
