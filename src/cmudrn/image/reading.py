"""Files to pictures: formats told by their first bytes, limits checked before decoding."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cmudrn.errors import (
    DamagedImageError,
    ImageFileError,
    ImageValueError,
    LimitExceededError,
    UnsupportedImageError,
)
from cmudrn.files import NotRegularError, open_regular
from cmudrn.image import bmp
from cmudrn.image.avif import full_range, is_lossless_avif, read_avif
from cmudrn.image.containers import Contents, Density
from cmudrn.image.exif import orientation_of, turn_area, turn_upright
from cmudrn.image.gif import read_gif
from cmudrn.image.jpeg import check_frame, end_of_picture, read_jpeg
from cmudrn.image.picture import Image, Picture, Pixels, check_floats, to_float, to_rgb
from cmudrn.image.png import check_chunks, read_png
from cmudrn.image.prescan import check_structure
from cmudrn.image.signatures import HEAD, format_of
from cmudrn.image.tiff import Meaning, convert, read_meaning
from cmudrn.image.tiff_contents import orientation_in, read_tiff
from cmudrn.image.vips import VipsErrors, field_names, loader, pyvips, reason
from cmudrn.image.webp import is_lossless_webp, read_webp
from cmudrn.image.xmp import updated

MAX_PIXELS = 128_000_000
"""Largest picture that is decoded unless a caller says otherwise."""

MAX_BYTES = 1 << 30
"""Largest file that is read unless a caller says otherwise."""

_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}


OnSize = Callable[[int, int, int], None]
"""Called with width, height and the bytes of a pixel."""


@dataclass(frozen=True)
class _Limits:
    """What is decoded: see `read_picture`."""

    pixels: int
    bytes: int
    memory: int | None
    on_size: OnSize | None

    def check(self, width: int, height: int, pixel_bytes: int, name: str) -> None:
        """Refuse an image that would take too much.

        Raises:
            LimitExceededError: it would.
        """
        check_size(width, height, self.pixels, name)
        needed = width * height * pixel_bytes
        if self.memory is not None and needed > self.memory:
            raise LimitExceededError(
                f"{name} has {width} x {height} pixels of {pixel_bytes} bytes = {needed:,} bytes, "
                f"more than the limit of {self.memory:,}.",
                limit_name="max_memory",
                limit=self.memory,
                value=needed,
                path=name,
            )
        if self.on_size:
            self.on_size(width, height, pixel_bytes)


def read_picture(
    source: str | os.PathLike[str] | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_memory: int | None = None,
    name: str | None = None,
    on_size: OnSize | None = None,
) -> Picture:
    """Return a picture file, upright, with its metadata.

    The format is told from the file's first bytes, never from its name. Size and length are
    checked before any pixel is decoded.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: largest width times height.
        max_bytes: largest file.
        max_memory: bytes that its pixels take when they are decoded; None is any number.
        name: what to call the picture in messages; the path when left out.
        on_size: told of the size once it is within the limits, before any pixel is decoded; may
            raise to stop.

    Raises:
        UnsupportedImageError: not a picture of a known format, of several pages, or with pixels
            of a kind or range that cannot be kept.
        DamagedImageError: it is cut short or malformed.
        LimitExceededError: it is larger than a limit.
        ImageFileError: it cannot be read.
    """
    limits = _Limits(max_pixels, max_bytes, max_memory, on_size)
    if isinstance(source, bytes):
        name = name or "The picture"
        vips_source = pyvips.Source.new_from_memory(source)
        return replace(_read(io.BytesIO(source), vips_source, len(source), limits, name), name=name)
    name = name or str(Path(source))
    try:
        with open_image_file(source, name) as file:
            # A descriptor, not a name: libvips would read options out of "a.tif[page=1]".
            vips_source = pyvips.Source.new_from_descriptor(file.fileno())
            length = os.fstat(file.fileno()).st_size
            return replace(_read(file, vips_source, length, limits, name), name=name)
    except OSError as error:
        raise ImageFileError(f"Cannot read {name}: {error.strerror}.", path=name) from error


def read_bytes(source: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file.

    Raises:
        LimitExceededError: it is larger than the limit.
        ImageFileError: it cannot be read, or is empty.
    """
    name = str(Path(source))
    try:
        with open_image_file(source, name) as file:
            _check_length(os.fstat(file.fileno()).st_size, max_bytes, name)
            return file.read()
    except OSError as error:
        raise ImageFileError(f"Cannot read {name}: {error.strerror}.", path=name) from error


def _read(
    file: BinaryIO, source: pyvips.Source, length: int, limits: _Limits, name: str
) -> Picture:
    kind = identify(file, length, limits.bytes, name)
    if kind == "bmp":
        file.seek(0)
        return _read_bmp(file.read(), limits, name)
    if kind == "png":
        check_chunks(file, name)
    meaning = read_meaning(file, name) if kind == "tiff" else None
    contents, orientation = _contents(file, kind, meaning, name)
    options: dict[str, Any] = {"page": meaning.page} if meaning else {}
    if kind == "jpeg" and check_frame(file, name) and end_of_picture(file) is None:
        # Readers take the end of the file for that of the picture; a warning tells of lost pixels.
        file.seek(0)
        source = pyvips.Source.new_from_memory(file.read() + b"\xff\xd9")
        options["fail_on"] = "warning"
        contents.notes.append("Its end marker is missing; its pixels are whole.")
    stores = {"webp": is_lossless_webp, "avif": is_lossless_avif}.get(kind)
    lossless = stores(file) if stores else kind != "jpeg"
    file.seek(0)
    picture = _read_vips(source, kind, limits, name, options, meaning)
    is_gif = kind == "gif"
    picture = replace(
        picture, format="png" if is_gif else kind, lossless=lossless, read_only=is_gif
    )
    return _upright(picture, contents, orientation)


def _contents(
    file: BinaryIO, kind: str, meaning: Meaning | None, name: str
) -> tuple[Contents, int]:
    """Return what a file holds beside its pixels, and how they are turned."""
    if kind == "tiff":
        place = meaning.place if meaning else None
        return read_tiff(file, place), orientation_in(file, place)
    if kind == "gif":
        return read_gif(file, name), 1
    if kind == "avif":
        return read_avif(file, name), 1  # libheif turns its pixels; EXIF's word does not count
    contents = {"jpeg": read_jpeg, "png": read_png, "webp": read_webp}[kind](file)
    orientation = orientation_of(contents.metadata.get("exif-data", b""))
    if kind == "png" and orientation != 1:
        contents = read_png(file, turned=True)
    return contents, orientation


def _upright(picture: Picture, contents: Contents, orientation: int) -> Picture:
    """Return a picture as read, turned upright, with what the file holds beside pixels."""
    height, width = picture.pixels.shape[:2]
    metadata = {**contents.metadata, **picture.metadata}
    if orientation != 1 and (exif := metadata.get("exif-data")):
        metadata["exif-data"] = turn_upright(exif, width, height, orientation)
    notes: list[str] = []
    if xmp := metadata.get("xmp-data"):
        turn = partial(turn_area, width=width, height=height, orientation=orientation)
        metadata["xmp-data"], notes = updated(xmp, orientation, turn)
    density = contents.density
    alpha = picture.alpha
    return replace(
        picture,
        pixels=np.ascontiguousarray(_turned(picture.pixels, orientation)),
        alpha=None if alpha is None else np.ascontiguousarray(_turned(alpha, orientation)),
        orientation=orientation,
        metadata=metadata,
        density=density.turned() if density and orientation >= 5 else density,
        notes=tuple(dict.fromkeys((*contents.notes, *notes, *picture.notes))),
    )


def identify(file: BinaryIO, length: int, max_bytes: int, name: str) -> str:
    """Return the format of a file that stays within all limits but that of its pixels.

    Args:
        file: at its start; its position moves.
        length: bytes of the file.
        max_bytes: most that it may have.
        name: what to call it in messages.

    Raises:
        ImageFileError: it is empty, too long, of no format that is read, or hostile.
    """
    _check_length(length, max_bytes, name)
    kind = format_of(file.read(HEAD), name)
    check_structure(file, kind, length, name)
    return kind


def open_image_file(source: str | os.PathLike[str], name: str) -> BinaryIO:
    """Return a file opened for reading, unbuffered: libvips reads from the same descriptor.

    Raises:
        ImageFileError: it is no file.
        OSError: it cannot be opened.
    """
    try:
        return open_regular(source)
    except NotRegularError as error:
        raise ImageFileError(f"{name} is not a file.", path=name) from error
    except ValueError as error:
        raise ImageFileError(f"{name!r} is not a file name.", path=name) from error


def _check_length(length: int, max_bytes: int, name: str) -> None:
    if length == 0:
        raise DamagedImageError(f"{name} is empty.", path=name)
    if length > max_bytes:
        raise LimitExceededError(
            f"{name} has {length:,} bytes, more than the limit of {max_bytes:,}.",
            limit_name="max_bytes",
            limit=max_bytes,
            value=length,
            path=name,
        )


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Refuse an image of too many pixels.

    Raises:
        LimitExceededError: it has.
    """
    if width * height > max_pixels:
        raise LimitExceededError(
            f"{name} has {width} x {height} = {width * height:,} pixels, "
            f"more than the limit of {max_pixels:,}.",
            limit_name="max_pixels",
            limit=max_pixels,
            value=width * height,
            path=name,
        )


def _read_bmp(data: bytes, limits: _Limits, name: str) -> Picture:
    header = bmp.read_header(data, name)
    limits.check(header.width, header.height, 4 if header.alpha else 3, name)
    pixels = bmp.read_pixels(data, header, name)
    alpha = np.ascontiguousarray(pixels[..., 3]) if header.alpha else None
    rgb = np.ascontiguousarray(pixels[..., :3]) if header.alpha else pixels
    x, y = map(Fraction, header.metres)
    density = Density(x, y, "m") if x and y else None
    metadata = {"icc-profile-data": header.profile} if header.profile else {}
    notes = (bmp.UNUSED_BYTE,) if header.fills_unused_byte else ()
    return Picture(rgb, alpha, "bmp", metadata=metadata, density=density, notes=notes)


def _read_vips(
    source: Any,
    kind: str,
    limits: _Limits,
    name: str,
    options: Mapping[str, Any],
    meaning: Meaning | None,
) -> Picture:
    """Return the pixels of a file as they are stored."""
    metadata = {}
    try:
        image = loader(kind)(source, **{"access": "sequential", "fail_on": "error", **options})
        samples = np.dtype(_DTYPES.get(image.format, np.uint8)).itemsize * image.bands
        limits.check(image.width, image.height, samples, name)
        if meaning is None:
            _refuse_pages(image, name)
        notes = list(meaning.notes) if meaning else []
        if image.interpretation == "cmyk":
            depth = 16 if image.format == "ushort" else 8
            image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
            metadata["icc-profile-data"] = image.get("icc-profile-data")
            notes.append("Its CMYK colours were converted to sRGB.")
        _check_pixels(image, name)
        bits = image.get("bits-per-sample") if kind == "avif" else 0
        array = np.frombuffer(image.write_to_memory(), _DTYPES[image.format])
    except VipsErrors as error:
        sentence = f"{name} is damaged or cut short ({reason(error)})."
        raise DamagedImageError(sentence, path=name) from error
    array = array.reshape(image.height, image.width, image.bands)
    if meaning is not None:
        if image.bands < meaning.colours + (meaning.alpha is not None):
            raise DamagedImageError(f"{name} is damaged: channels are missing.", path=name)
        array = convert(array, meaning)
    if kind == "avif" and array.dtype == np.uint16:
        array = full_range(array, bits)
    _check_range(array, name)
    has_alpha = array.shape[2] in (2, 4)
    colours = array[..., :-1] if has_alpha else array
    return Picture(
        colours[..., 0] if colours.shape[2] == 1 else colours,
        array[..., -1] if has_alpha else None,
        metadata=metadata,
        notes=tuple(notes),
    )


def _refuse_pages(image: Any, name: str) -> None:
    pages = image.get("n-pages") if "n-pages" in field_names(image) else 1
    if pages > 1:
        raise UnsupportedImageError(
            f"{name} holds {pages} pages or frames; split it first, as only single pictures "
            "are restored.",
            path=name,
        )


def _check_pixels(image: Any, name: str) -> None:
    if image.format not in _DTYPES:
        raise UnsupportedImageError(
            f"{name} holds {image.format} samples; 8 or 16 bit integers and 32-bit floats are "
            "kept.",
            path=name,
        )


def _check_range(array: Pixels, name: str) -> None:
    """Refuse floating point values that mean something else than white at 1."""
    if array.dtype != np.float32:
        return
    try:
        check_floats(array if array.shape[2] in (1, 3) else array[..., :-1])
    except ImageValueError as error:
        raise UnsupportedImageError(f"{name}: {error}", path=name) from error


def _turned(array: Pixels, orientation: int) -> Pixels:
    """Return (H, W) or (H, W, C) pixels with an EXIF orientation applied."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def read_image(source: str | os.PathLike[str]) -> Image:
    """Return a picture file as (H, W, 3) float32 RGB in [0, 1], upright, without its alpha.

    Raises:
        ImageFileError: the file cannot be read; see `read_picture`.
    """
    return to_rgb(to_float(read_picture(source).pixels))
