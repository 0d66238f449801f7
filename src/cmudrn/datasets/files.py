"""Picture files of a folder: found, put in order, measured, shrunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import DamagedImageError, ImageFileError
from cmudrn.files import list_folder, natural_order
from cmudrn.image import read_image
from cmudrn.image.vips import pyvips, reason


def list_pictures(folder: Path, below: bool = True) -> list[Path]:
    """Return the picture files in a folder, in natural order.

    Args:
        folder: where to look.
        below: also look in the folders below it. Hidden files never count.
    """
    found = list_folder(folder, below=below, follow_links=True).images
    return sorted(found, key=lambda path: natural_order(str(path.relative_to(folder))))


def picture_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels, upright, from the head of a picture file.

    Raises:
        ImageFileError: it is no image that can be read.
    """
    if _is_bmp(path):
        height, width = read_image(path).shape[:2]
        return width, height
    image = _open(path)
    turned = "orientation" in image.get_fields() and image.get("orientation") >= 5
    return (image.height, image.width) if turned else (image.width, image.height)


def thumbnail(path: Path, side: int) -> NDArray[np.uint8]:
    """Return a picture file squeezed to (side, side, 3) uint8 RGB, upright.

    Raises:
        ImageFileError: it is no image that can be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            if _is_bmp(path):
                pixels = np.rint(read_image(path) * 255).astype(np.uint8)
                whole = pyvips.Image.new_from_array(pixels, interpretation="srgb")
                image = whole.thumbnail_image(side, height=side, size="force")
            else:
                source = pyvips.Source.new_from_descriptor(file.fileno())
                image = pyvips.Image.thumbnail_source(source, side, height=side, size="force")
            image = image.colourspace("srgb")
            if image.hasalpha():
                image = image.extract_band(0, n=image.bands - 1)
            array = np.frombuffer(image.cast("uchar").write_to_memory(), np.uint8)
    except OSError as error:
        raise ImageFileError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    except pyvips.Error as error:
        raise DamagedImageError(
            f"{path} is damaged or cut short ({reason(error)}).", path=path
        ) from error
    return array.reshape(side, side, -1)[..., :3]


def _is_bmp(path: Path) -> bool:
    """Return whether a file is a BMP, which libvips does not read."""
    return path.suffix.lower() == ".bmp"


def _open(path: Path) -> Any:
    try:
        with open(path, "rb", buffering=0) as file:
            source = pyvips.Source.new_from_descriptor(file.fileno())
            return pyvips.Image.new_from_source(source, "", access="sequential")
    except OSError as error:
        raise ImageFileError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    except pyvips.Error as error:
        raise DamagedImageError(f"{path} is not an image that can be read.", path=path) from error
