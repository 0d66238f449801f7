"""Images of the package Pillow (PIL), taken and given back; Pillow itself is not needed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cmudrn.errors import ImageValueError
from cmudrn.image import Pixels

_PLAIN = ("L", "RGB", "I;16")
"""Modes whose pixels are restored as they are."""

_WITH_ALPHA = ("LA", "RGBA")
"""Modes whose transparency is passed through."""


def is_pil_image(value: object) -> bool:
    """Return whether a value is an image of Pillow."""
    return any(
        f"{kind.__module__}.{kind.__name__}" == "PIL.Image.Image" for kind in type(value).mro()
    )


def restore_pil_image(image: Any, restore: Callable[[Pixels], Pixels]) -> Any:
    """Return a PIL image restored: of the same mode and size, with its transparency and `info`.

    Args:
        image: of the mode L, RGB, I;16, LA or RGBA. EXIF orientation is not applied.
        restore: called with (H, W) grey or (H, W, 3) RGB pixels, uint8 or uint16.

    Raises:
        ImageValueError: the image is of another mode.
    """
    if image.mode not in (*_PLAIN, *_WITH_ALPHA):
        raise ImageValueError(
            f"A PIL image of the mode {image.mode} is not restored; convert it to L or RGB first."
        )
    pixels = np.asarray(image)
    if image.mode in _WITH_ALPHA:
        colours = pixels[..., :-1] if image.mode == "RGBA" else pixels[..., 0]
        restored = restore(np.ascontiguousarray(colours))
        pixels = np.dstack([restored, pixels[..., -1]])
    else:
        pixels = restore(np.ascontiguousarray(pixels))
    result = image.copy()  # keeps mode, size and info
    result.frombytes(np.ascontiguousarray(pixels).tobytes())
    return result
