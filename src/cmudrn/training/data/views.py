"""What a network is validated on: a window of each validation image, in weather."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cmudrn.image import Image
from cmudrn.training.data.synthetic_structures import composite_structure
from cmudrn.weather.patches import PatchWeather

VIEW_SIZE = 128
"""Side in pixels of the window."""

View = Callable[[Image, str, np.random.Generator], tuple[Image, Image]]
"""(clean image, weather family, random numbers) -> (network input, ground truth)."""


def view_middle(weather: PatchWeather) -> View:
    """Return the view of the middle of an image in weather."""

    def view(picture: Image, family: str, rng: np.random.Generator) -> tuple[Image, Image]:
        clean = np.ascontiguousarray(picture[middle(picture.shape)])
        if family == "clear":
            return clean, clean
        return weather.degrade(clean, rng, family), clean

    return view


def view_structure(view: View) -> View:
    """Return the view of a clean image with a structure over it, which must be kept."""

    def view_built(picture: Image, _: str, rng: np.random.Generator) -> tuple[Image, Image]:
        built = composite_structure(view(picture, "clear", rng)[1], rng)
        return built, built

    return view_built


def middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the VIEW_SIZE x VIEW_SIZE window in the middle of an image of (H, W)."""
    top, left = ((side - VIEW_SIZE) // 2 for side in shape[:2])
    return slice(top, top + VIEW_SIZE), slice(left, left + VIEW_SIZE)
