"""Pictures to files: as exact as the format allows, with the metadata that came along."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.image import bmp
from cmudrn.image.containers import with_xmp
from cmudrn.image.files import atomic_file
from cmudrn.image.picture import Image, Picture, Pixels, from_float, to_float
from cmudrn.image.vips import pyvips, reason

SUFFIXES = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".bmp": "bmp",
}
"""File name suffix -> format."""

FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))

SUBSAMPLINGS = {"auto": "auto", "444": "off", "420": "on"}
"""What JPEG does with its colours -> libvips' name for it."""

QUALITY = 95
"""Of JPEG and lossy WebP unless a caller says otherwise."""

_PLAIN_RESOLUTION = 72 / 25.4  # what readers assume of a file that says nothing
_BAND_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_GTYPES = {
    bytes: pyvips.GValue.blob_type,
    str: pyvips.GValue.refstr_type,
    int: pyvips.GValue.gint_type,
}


def format_for(target: str | os.PathLike[str]) -> str:
    """Return the format that a file name asks for.

    Raises:
        CmudrnError: the suffix names no known format.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in SUFFIXES:
        raise CmudrnError(
            f"{target} does not end in a known suffix: {', '.join(sorted(SUFFIXES))}."
        )
    return SUFFIXES[suffix]


def lost_in(picture: Picture, format: str) -> tuple[str, ...]:
    """Return sentences about what a format cannot hold of a picture."""
    lost = []
    if picture.pixels.dtype != np.uint8 and format in ("jpeg", "webp", "bmp"):
        lost.append(f"{format.upper()} holds 8 bits a channel; the picture had more.")
    if picture.pixels.dtype == np.float32 and format == "png":
        lost.append("PNG holds 16 bits a channel; the picture had floating point values.")
    held = {"bmp": (), "tiff": ("icc", "xmp", "iptc")}.get(format, ("icc", "xmp", "iptc", "exif"))
    for what in ("exif", "icc", "xmp", "iptc"):
        if what not in held and any(key.startswith(what) for key in picture.metadata):
            lost.append(f"{format.upper()} files are written without {what.upper()} data.")
    return tuple(lost)


def encode_picture(
    picture: Picture,
    format: str | None = None,
    *,
    quality: int | None = None,
    subsampling: str = "auto",
) -> bytes:
    """Return a picture as the bytes of a file.

    Args:
        picture: what to write; its orientation is already applied, so the file says 1.
        format: one of `SUFFIXES`' values; the picture's own when left out.
        quality: 1 to 100 for JPEG and WebP. Left out, JPEG takes `QUALITY`, and WebP is
            lossless for a lossless picture and takes `QUALITY` for another.
        subsampling: of JPEG's colours: "444" keeps them all, "420" halves both sides,
            "auto" halves below quality 90.

    Raises:
        CmudrnError: the format cannot hold the picture.
    """
    chosen = format or picture.format
    _check_fit(picture, chosen)
    if chosen == "bmp":
        return _bmp_bytes(picture)
    xmp = picture.metadata.get("xmp-data") if chosen == "png" else None
    if not isinstance(xmp, bytes):
        return _vips_bytes(picture, chosen, quality, subsampling)
    others = {key: value for key, value in picture.metadata.items() if key != "xmp-data"}
    picture = replace(picture, metadata=others)
    return with_xmp(_vips_bytes(picture, chosen, quality, subsampling), xmp)


def write_picture(
    picture: Picture,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    quality: int | None = None,
    subsampling: str = "auto",
) -> None:
    """Write a picture; the file appears whole or not at all.

    Args:
        picture: what to write.
        target: its suffix says which format, unless format does.
        format: see `encode_picture`.
        quality: see `encode_picture`.
        subsampling: see `encode_picture`.

    Raises:
        CmudrnError: the file cannot be written, or the format cannot hold the picture.
    """
    data = encode_picture(
        picture, format or format_for(target), quality=quality, subsampling=subsampling
    )
    with atomic_file(target) as file:
        file.write(data)


def _check_fit(picture: Picture, format: str) -> None:
    if format not in FORMATS:
        raise CmudrnError(f"There is no format {format!r}; there are {', '.join(FORMATS)}.")
    height, width = picture.pixels.shape[:2]
    longest = {"jpeg": 65_535, "webp": 16_383}.get(format, 1 << 30)
    if max(width, height) > longest:
        raise CmudrnError(f"{format.upper()} holds at most {longest} pixels a side.")
    if picture.alpha is not None and format == "jpeg":
        raise CmudrnError("JPEG cannot hold transparency; choose PNG, TIFF, WebP or BMP.")


def _stored(picture: Picture, format: str) -> Pixels:
    """Return (H, W, C) pixels and alpha in a type that the format holds."""
    planes = to_depth(picture.pixels, format)
    if planes.ndim == 2:
        planes = planes[..., None]
    if picture.alpha is not None:
        planes = np.concatenate([planes, to_depth(picture.alpha, format)[..., None]], axis=2)
    return np.ascontiguousarray(planes)


def to_depth(pixels: Pixels, format: str) -> Pixels:
    """Return pixels in the type nearest to their own that a format holds."""
    if pixels.dtype == np.uint8 or format == "tiff":
        return pixels
    dtype = np.uint16 if format == "png" else np.uint8
    return pixels if pixels.dtype == dtype else from_float(to_float(pixels), dtype)


def _bmp_bytes(picture: Picture) -> bytes:
    pixels = _stored(picture, "bmp")
    if pixels.shape[2] == 2:  # BMP has no grey with alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    known = picture.resolution != (1.0, 1.0)
    metres = tuple(round(1000 * axis) for axis in picture.resolution) if known else (0, 0)
    return bmp.encode(pixels[..., 0] if pixels.shape[2] == 1 else pixels, (metres[0], metres[1]))


def _vips_bytes(picture: Picture, format: str, quality: int | None, chroma: str) -> bytes:
    if quality is not None and not 1 <= quality <= 100:
        raise CmudrnError(f"A quality runs from 1 to 100; it is {quality}.")
    options = _save_options(picture, format, quality, chroma)
    try:
        save = getattr(_vips_image(picture, format), f"{format}save_buffer")
        return bytes(save(keep="all", **options))
    except pyvips.Error as error:
        raise CmudrnError(f"The picture cannot be written ({reason(error)}).") from error


def _vips_image(picture: Picture, format: str) -> pyvips.Image:
    pixels = _stored(picture, format)
    height, width, bands = pixels.shape
    kind = _BAND_FORMATS[pixels.dtype.name]
    deep = pixels.dtype == np.uint16
    colours = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, kind)
    unknown = picture.resolution == (1.0, 1.0)
    x, y = (_PLAIN_RESOLUTION,) * 2 if unknown else picture.resolution
    image = image.copy(interpretation=colours, xres=x, yres=y)
    for key, value in picture.metadata.items():
        image.set_type(_GTYPES[type(value)], key, value)
    image.set_type(_GTYPES[int], "orientation", 1)
    return image


def _save_options(
    picture: Picture, format: str, quality: int | None, chroma: str
) -> dict[str, Any]:
    match format:
        case "jpeg":
            if chroma not in SUBSAMPLINGS:
                raise CmudrnError(f"A subsampling is auto, 444 or 420; it is {chroma!r}.")
            return {"Q": quality or QUALITY, "subsample_mode": SUBSAMPLINGS[chroma]}
        case "webp" if picture.lossless and quality is None:
            return {"lossless": True, "exact": True}
        case "webp":
            return {"Q": quality or QUALITY, "smart_subsample": True, "exact": True}
        case "tiff":
            predictor = "float" if picture.pixels.dtype == np.float32 else "horizontal"
            large = picture.pixels.nbytes > 2_000_000_000
            return {"compression": "deflate", "predictor": predictor, "bigtiff": large}
        case _:
            return {}


def write_image(image: Image, target: str | os.PathLike[str]) -> None:
    """Write an image as a plain 8-bit file; the suffix of target says which format.

    Raises:
        CmudrnError: the file cannot be written.
    """
    write_picture(Picture(from_float(image, np.uint8)), target)
