"""The two kinds of picture: what a file holds, and what the program computes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import ImageValueError
from cmudrn.image.containers import Density

Image = NDArray[np.float32]
"""(H, W, 3) float32, RGB, nominally in [0, 1]."""

Pixels = NDArray[Any]
"""(H, W) grey or (H, W, 3) RGB; uint8, uint16, or float32 with white at 1."""


@dataclass(frozen=True)
class Picture:
    """What a picture file holds.

    Attributes:
        pixels: upright, in the file's own type.
        alpha: (H, W) opacity of the same type, or None.
        format: "jpeg", "png", "tiff", "webp", "avif" or "bmp"; "png" of a GIF, too.
        orientation: the file's EXIF orientation, 1 to 8, already applied to pixels.
        metadata: carried to the output: "exif-data" (a bare block), "xmp-data", "iptc-data" (bare
            records), "photoshop-data" (resources), "icc-profile-data", and what only one format
            has, as it stands in the file: "png-texts", "png-colours", "png-chunks",
            "jpeg-comments", "jpeg-segments".
        density: of the pixels, as the file says it beside its EXIF data, or None.
        lossless: whether the file stores its pixels exactly.
        read_only: whether the file is of a kind that is not written, so that its own bytes are
            never a result.
        notes: sentences about what reading changed or left out; empty for most files.
        name: what messages call it, such as the path that it was read from; may be empty.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    format: str = "png"
    orientation: int = 1
    metadata: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    density: Density | None = None
    lossless: bool = True
    read_only: bool = False
    notes: tuple[str, ...] = ()
    name: str = ""


def check_array(array: Pixels) -> None:
    """Refuse what is no picture: `Pixels`, of at least one pixel, floats roughly from 0 to 1.

    Raises:
        ImageValueError: the array has another type, shape or scale, or holds NaN or infinity.
    """
    if not isinstance(array, np.ndarray):
        kind = type(array).__name__
        raise ImageValueError(f"A picture is a NumPy array or a PIL image, not a {kind}.")
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise ImageValueError(f"A picture is uint8, uint16 or float32, not {array.dtype}.")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or not array.size:
        raise ImageValueError(f"A picture has the shape (H, W, 3) or (H, W), not {array.shape}.")
    if array.dtype == np.float32:
        check_floats(array)


def check_floats(array: Pixels) -> None:
    """Refuse float32 values that do not run roughly from 0 to 1.

    Raises:
        ImageValueError: they have another scale, or hold NaN or infinity.
    """
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():  # min and max pass a NaN on
        raise ImageValueError("The picture holds values that are no numbers (NaN or infinity).")
    if low < -1 or high > 2:  # a small overshoot is common; another scale is a mistake
        raise ImageValueError(
            f"A floating point picture runs from 0 to 1; this one runs from {low:g} to {high:g}."
        )


def to_batch(image: Image) -> NDArray[np.float32]:
    """Return (H, W, 3) as a batch of one, (1, 3, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def from_batch(batch: NDArray[np.float32]) -> Image:
    """Return a batch of one, (1, 3, H, W), as (H, W, 3)."""
    return np.ascontiguousarray(batch[0].transpose(1, 2, 0))


def to_float(pixels: Pixels) -> NDArray[np.float32]:
    """Return pixels of any accepted type as float32 with white at 1, shaped alike."""
    if pixels.dtype == np.float32:
        return pixels
    return np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), dtype=np.float32)


_BAND_PIXELS = 1 << 15
"""Handled at once by `put_pixels`."""


def put_float(pixels: Pixels, into: NDArray[np.float32]) -> None:
    """Write pixels of any accepted type into float32, white at 1, shaped alike."""
    if pixels.dtype == np.float32:
        into[...] = pixels
    else:
        np.divide(pixels, np.float32(np.iinfo(pixels.dtype).max), out=into, dtype=np.float32)


def from_float(values: NDArray[np.float32], dtype: np.dtype[Any] | type) -> Pixels:
    """Return values clipped to [0, 1] in another type; integers are rounded to the nearest."""
    clipped = np.clip(values, np.float32(0), np.float32(1))
    if np.dtype(dtype) == np.float32:
        return clipped
    stored: Pixels = np.rint(clipped * np.float32(np.iinfo(dtype).max)).astype(dtype)
    return stored


def put_pixels(values: NDArray[np.float32], into: Pixels) -> None:
    """Write what `from_float` returns into whole numbers, shaped alike, (h, w) or (h, w, C).

    One channel after another and a few rows at a time: that stays in the processor's caches.
    """
    planes = [(values, into)]
    if values.ndim == 3:
        planes = [(values[..., c], into[..., c]) for c in range(values.shape[2])]
    rows, white = max(1, _BAND_PIXELS // values.shape[1]), np.float32(np.iinfo(into.dtype).max)
    for start in range(0, len(values), rows):
        for plane, stored in planes:
            band = np.clip(plane[start : start + rows], np.float32(0), np.float32(1))
            np.multiply(band, white, out=band)
            stored[start : start + rows] = np.rint(band, out=band)


def to_rgb(pixels: Pixels) -> Pixels:
    """Return (H, W, 3); grey is repeated."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
