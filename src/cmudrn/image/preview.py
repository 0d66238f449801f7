"""A picture's size and a small copy of it, within the limits of reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import DamagedImageError, ImageFileError
from cmudrn.image import bmp
from cmudrn.image.reading import (
    MAX_BYTES,
    MAX_PIXELS,
    check_size,
    identify,
    open_image_file,
    read_image,
)
from cmudrn.image.vips import VipsErrors, field_names, loader, pyvips, reason

_BMP_HEAD = 4096


def picture_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels, upright, from the head of a picture file.

    Raises:
        ImageFileError: it is no image that can be read.
    """
    with _opened(path) as (file, kind):
        if kind == "bmp":
            file.seek(0)
            header = bmp.read_header(file.read(_BMP_HEAD), str(path))
            return header.width, header.height
        image = _load(file, kind)
        turned = "orientation" in field_names(image) and image.get("orientation") >= 5
        return (image.height, image.width) if turned else (image.width, image.height)


def thumbnail(path: Path, side: int) -> NDArray[np.uint8]:
    """Return a picture file squeezed to (side, side, 3) uint8 RGB, upright.

    Raises:
        ImageFileError: it is no image that can be read.
    """
    with _opened(path) as (file, kind):
        if kind == "bmp":
            pixels = np.rint(read_image(path) * 255).astype(np.uint8)
            whole = pyvips.Image.new_from_array(pixels, interpretation="srgb")
            image = whole.thumbnail_image(side, height=side, size="force")
        else:
            head = _load(file, kind)
            check_size(head.width, head.height, MAX_PIXELS, str(path))
            file.seek(0)
            source = pyvips.Source.new_from_descriptor(file.fileno())
            image = pyvips.Image.thumbnail_source(source, side, height=side, size="force")
        image = image.colourspace("srgb")
        if image.hasalpha():
            image = image.extract_band(0, n=image.bands - 1)
        array = np.frombuffer(image.cast("uchar").write_to_memory(), np.uint8)
    return array.reshape(side, side, -1)[..., :3]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file and its format; what goes wrong with it becomes a sentence."""
    try:
        with open_image_file(path, str(path)) as file:
            yield file, identify(file, os.fstat(file.fileno()).st_size, MAX_BYTES, str(path))
    except OSError as error:
        raise ImageFileError(f"Cannot read {path}: {error.strerror}.", path=path) from error
    except VipsErrors as error:
        raise DamagedImageError(
            f"{path} is damaged or cut short ({reason(error)}).", path=path
        ) from error


def _load(file: BinaryIO, kind: str) -> Any:
    file.seek(0)
    source = pyvips.Source.new_from_descriptor(file.fileno())
    return loader(kind)(source, access="sequential")
