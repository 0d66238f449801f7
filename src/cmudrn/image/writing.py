"""Pictures to files: as exact as the format allows, with the metadata that came along."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.errors import ImageFileError, InvalidSettingError, TargetError, UnsupportedImageError
from cmudrn.files import IMAGE_SUFFIXES, atomic_file
from cmudrn.image import avif, bmp, jpeg, png, tiff_contents, webp
from cmudrn.image.containers import Contents
from cmudrn.image.exif import bare, fit, has_thumbnail, read_tags
from cmudrn.image.jpeg import MAX_EXIF, MAX_XMP
from cmudrn.image.picture import Picture, Pixels, check_array, from_float, to_float
from cmudrn.image.vips import VipsErrors, pyvips, reason
from cmudrn.image.xmp import resized, split_extended

FORMATS = tuple(dict.fromkeys(IMAGE_SUFFIXES.values()))
"""Formats that are read and written."""

SUBSAMPLINGS = {"auto": "auto", "444": "off", "420": "on"}
"""What JPEG does with its colours -> libvips' name for it."""

QUALITY = 95
"""Of JPEG, and of lossy WebP and AVIF, unless a caller says otherwise."""

_EFFORT = 2
"""Of the coder of AVIF, 0 to 9: each step more takes up to twice the time for little."""

_BAND_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}
_METADATA = {
    "exif-data": ("EXIF", ("jpeg", "png", "webp", "avif", "tiff")),
    "icc-profile-data": ("ICC", ("jpeg", "png", "webp", "avif", "tiff")),
    "xmp-data": ("XMP", ("jpeg", "png", "webp", "avif", "tiff")),
    "iptc-data": ("IPTC", ("jpeg", "png", "tiff")),
    "photoshop-data": ("Photoshop", ("jpeg", "png", "tiff")),
    "png-texts": ("PNG text", ("png",)),
    "png-colours": ("PNG colour (gAMA, cHRM, cICP)", ("png",)),
    "png-chunks": ("other PNG", ("png",)),
    "jpeg-comments": ("JPEG comment", ("jpeg",)),
    "jpeg-segments": ("JPEG application", ("jpeg",)),
}
"""Metadata -> what people call it, and the formats that it is written into."""

_THUMBNAIL_SIDE = 160  # pixels, as the EXIF standard has it


def format_for(target: str | os.PathLike[str]) -> str:
    """Return the format that a file name asks for.

    Raises:
        TargetError: the suffix names no known format.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise TargetError(
            f"{target} does not end in a known suffix: {', '.join(sorted(IMAGE_SUFFIXES))}.",
            path=target,
            misnamed=True,
        )
    return IMAGE_SUFFIXES[suffix]


def unsupported_features(picture: Picture, format: str) -> tuple[str, ...]:
    """Return sentences about what a format cannot hold of a picture."""
    lost, metadata = [], _metadata_for(picture, format)
    if picture.pixels.dtype != np.uint8 and format in ("jpeg", "webp", "bmp"):
        lost.append(f"{format.upper()} holds 8 bits a channel; the picture had more.")
    if picture.pixels.dtype != np.uint8 and format == "avif":
        lost.append(f"AVIF holds {avif.BITS} bits a channel; the picture may have had more.")
    if picture.pixels.dtype == np.float32 and format == "png":
        lost.append("PNG holds 16 bits a channel; the picture had floating point values.")
    if isinstance(exif := metadata.get("exif-data"), bytes) and format != "bmp":
        lost += _lost_of_exif(picture, bare(exif), format)
    if "icc-profile-data" in picture.metadata and not _profile_fits(picture, format):
        lost.append("The colour profile is not one for these pixels and is left out.")
    xmp = metadata.get("xmp-data", b"")
    if format == "jpeg" and xmp and not split_extended(xmp, MAX_XMP)[0]:
        lost.append(f"JPEG holds {MAX_XMP:,} bytes of such XMP data; the picture had more.")
    for key, (what, formats) in _METADATA.items():
        if format not in formats and key in metadata:
            lost.append(f"{format.upper()} files are written without {what} data.")
    if picture.density is not None and format in ("webp", "avif"):
        lost.append(f"{format.upper()} files are written without a resolution beside EXIF data.")
    return tuple(lost)


def _lost_of_exif(picture: Picture, block: bytes, format: str) -> list[str]:
    if not block:
        return []
    if (written := _fitting_exif(picture, block, format)) is None:
        return ["The picture's EXIF data is damaged; little or nothing of it is written."]
    if format == "jpeg" and len(written) > MAX_EXIF:
        return [f"JPEG holds {MAX_EXIF:,} bytes of EXIF data; the picture had more."]
    if format != "tiff":
        return []
    tags = ", ".join(map(str, read_tags(io.BytesIO(block))[1]))
    lost = [f"TIFF files are written without the EXIF tags {tags}."] if tags else []
    if has_thumbnail(block):
        lost.append("TIFF files are written without the thumbnail in EXIF data.")
    return lost


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
        format: one of `IMAGE_SUFFIXES`' values; the picture's own when left out.
        quality: 1 to 100 for JPEG, WebP and AVIF. Left out, JPEG takes `QUALITY`, and WebP and
            AVIF are lossless for a lossless picture and take `QUALITY` for another.
        subsampling: of JPEG's colours: "444" keeps them all, "420" halves both sides,
            "auto" halves below quality 90.

    Raises:
        UnsupportedImageError: the format cannot hold the picture; the sentence names it.
        InvalidSettingError: the format, quality or subsampling is none.
    """
    chosen = format or picture.format
    _check_fit(picture, chosen)
    if chosen == "bmp":
        return _bmp_bytes(picture)
    metadata = _metadata_for(picture, chosen)
    height, width = picture.pixels.shape[:2]
    if block := bare(metadata.pop("exif-data", b"")):
        metadata["exif-data"] = _fitting_exif(picture, block, chosen) or b""
    if xmp := metadata.get("xmp-data"):
        metadata["xmp-data"] = resized(xmp, width, height)
    data = _vips_bytes(picture, chosen, quality, subsampling)
    contents = Contents(metadata, picture.density)
    match chosen:
        case "jpeg":
            return jpeg.with_contents(data, contents)
        case "png":
            return png.with_contents(data, contents)
        case "webp":
            return webp.with_contents(bytes(data), contents, width, height)
        case "avif":
            return avif.with_contents(bytes(data), contents)
        case _:
            return tiff_contents.with_contents(bytes(data), contents)


def write_picture(
    picture: Picture,
    target: str | os.PathLike[str],
    *,
    format: str | None = None,
    quality: int | None = None,
    subsampling: str = "auto",
    like: Sequence[str | os.PathLike[str]] = (),
) -> None:
    """Write a picture; the file appears whole or not at all.

    Args:
        picture: what to write.
        target: its suffix says which format, unless format does.
        format: see `encode_picture`.
        quality: see `encode_picture`.
        subsampling: see `encode_picture`.
        like: files that it was made from; the new file is not more readable than any.

    Raises:
        TargetError: the file cannot be written.
        UnsupportedImageError: the format cannot hold the picture.
        InvalidSettingError: the format, quality or subsampling is none.
    """
    picture = replace(picture, name=picture.name or str(target))
    data = encode_picture(
        picture, format or format_for(target), quality=quality, subsampling=subsampling
    )
    with atomic_file(target, like=like) as file:
        file.write(data)


def _check_fit(picture: Picture, format: str) -> None:
    if format not in FORMATS:
        sentence = f"There is no format {format!r}; there are {', '.join(FORMATS)}."
        raise InvalidSettingError(sentence, setting="format", value=format)
    height, width = picture.pixels.shape[:2]
    longest = {"jpeg": 65_535, "webp": 16_383, "avif": 16_384}.get(format, 1 << 30)
    if max(width, height) > longest:
        raise _unsupported(picture, f"{format.upper()} holds at most {longest} pixels a side.")
    if picture.alpha is not None and format == "jpeg":
        sentence = "JPEG cannot hold transparency; choose PNG, TIFF, WebP, AVIF or BMP."
        raise _unsupported(picture, sentence)


def _unsupported(picture: Picture, sentence: str) -> UnsupportedImageError:
    named = f"{picture.name}: {sentence}" if picture.name else sentence
    return UnsupportedImageError(named, path=picture.name or None)


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
    dtype = np.uint16 if format in ("png", "avif") else np.uint8
    return pixels if pixels.dtype == dtype else from_float(to_float(pixels), dtype)


def _bmp_bytes(picture: Picture) -> bytes:
    pixels = _stored(picture, "bmp")
    if pixels.shape[2] == 2:  # BMP has no grey with alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    x, y = picture.density.per("m") if picture.density and picture.density.unit else (0, 0)
    return bmp.encode(pixels[..., 0] if pixels.shape[2] == 1 else pixels, (round(x), round(y)))


def _vips_bytes(picture: Picture, format: str, quality: int | None, chroma: str) -> memoryview:
    """Return a file as libvips writes it, in memory of libvips."""
    if quality is not None and not 1 <= quality <= 100:
        sentence = f"A quality runs from 1 to 100; it is {quality}."
        raise InvalidSettingError(sentence, setting="quality", value=quality)
    options = _save_options(picture, format, quality, chroma)
    try:
        image = _vips_image(picture, format)
        if format == "avif":
            return _avif_bytes(image, picture, options)
        save = getattr(image, f"{format}save_buffer")
        return memoryview(save(keep="none", **options))
    except VipsErrors as error:
        sentence = f"{picture.name or 'The picture'} cannot be written ({reason(error)})."
        raise ImageFileError(sentence, path=picture.name or None) from error


def _avif_bytes(image: pyvips.Image, picture: Picture, options: dict[str, Any]) -> memoryview:
    """Return an AVIF with a colour profile, which its coder has to know, and nothing else."""
    profile = picture.metadata.get("icc-profile-data")
    if profile and _profile_fits(picture, "avif"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        return memoryview(image.heifsave_buffer(keep="icc", **options))
    return memoryview(image.heifsave_buffer(keep="none", **options))


def _vips_image(picture: Picture, format: str) -> pyvips.Image:
    pixels = _stored(picture, format)
    height, width, bands = pixels.shape
    kind = _BAND_FORMATS[pixels.dtype.name]
    deep = pixels.dtype == np.uint16
    colours = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_memory(pixels.data, width, height, bands, kind)
    return image.copy(interpretation=colours)


def _profile_fits(picture: Picture, format: str) -> bool:
    """Return whether the picture's colour profile is one for its pixels as a format has them.

    BMP holds none anyway.
    """
    profile = picture.metadata.get("icc-profile-data")
    if not isinstance(profile, bytes) or format == "bmp":
        return True
    grey = picture.pixels.ndim == 2 and format not in ("webp", "avif")  # which have no grey
    return profile[16:20] == (b"GRAY" if grey else b"RGB ") and profile[36:40] == b"acsp"


def _metadata_for(picture: Picture, format: str) -> dict[str, bytes]:
    """Return the metadata that a format is to hold of a picture."""
    metadata = {key: value for key, value in picture.metadata.items() if value}
    if not _profile_fits(picture, format):
        del metadata["icc-profile-data"]
    colours = metadata.get("png-colours", b"")
    if format != "png" and b"sRGB" in colours and b"cICP" not in colours:
        del metadata["png-colours"]  # which readers assume anyway
    return metadata


def _fitting_exif(picture: Picture, block: bytes, format: str) -> bytes | None:
    """Return a bare EXIF block for a picture and a format, or None where it is damaged.

    A thumbnail in it is made anew, and left out where a JPEG has no room for it.
    """
    height, width = picture.pixels.shape[:2]
    thumbnail = b""
    if format != "tiff" and has_thumbnail(block):
        thumbnail = _thumbnail(picture)
    fitting = fit(block, width, height, thumbnail)
    if fitting and thumbnail and format == "jpeg" and len(fitting) > MAX_EXIF:
        return fit(block, width, height)
    return fitting


def _thumbnail(picture: Picture) -> bytes:
    """Return a small JPEG of a picture."""
    image = _vips_image(replace(picture, alpha=None), "jpeg")
    small = image.thumbnail_image(_THUMBNAIL_SIDE, height=_THUMBNAIL_SIDE, size="down")
    return bytes(small.jpegsave_buffer(Q=80, keep="none"))


def _save_options(
    picture: Picture, format: str, quality: int | None, chroma: str
) -> dict[str, Any]:
    match format:
        case "jpeg":
            if chroma not in SUBSAMPLINGS:
                sentence = f"A subsampling is auto, 444 or 420; it is {chroma!r}."
                raise InvalidSettingError(sentence, setting="subsampling", value=chroma)
            return {"Q": quality or QUALITY, "subsample_mode": SUBSAMPLINGS[chroma]}
        case "webp" if picture.lossless and quality is None:
            return {"lossless": True, "exact": True}
        case "webp":
            return {"Q": quality or QUALITY, "smart_subsample": True, "exact": True}
        case "avif":
            bits = 8 if to_depth(picture.pixels, format).dtype == np.uint8 else avif.BITS
            common = {"compression": "av1", "bitdepth": bits, "effort": _EFFORT}
            if picture.lossless and quality is None:
                return {**common, "lossless": True}
            return {**common, "Q": quality or QUALITY}
        case "tiff":
            predictor = "float" if picture.pixels.dtype == np.float32 else "horizontal"
            large = picture.pixels.nbytes > 2_000_000_000
            return {"compression": "deflate", "predictor": predictor, "bigtiff": large}
        case _:
            return {}


def write_image(image: Pixels, target: str | os.PathLike[str]) -> None:
    """Write an array as a plain picture file; the suffix of target says which format.

    Args:
        image: (H, W, 3) RGB or (H, W) grey. float32 in [0, 1] is written with 8 bits; uint8 and
            uint16 are written as they are where the format holds them (`to_depth`).
        target: the file, written whole or not at all.

    Raises:
        ImageValueError: the array is no picture.
        TargetError: the file cannot be written.
    """
    check_array(image)
    pixels = from_float(image, np.uint8) if image.dtype == np.float32 else image
    write_picture(Picture(pixels), target)
