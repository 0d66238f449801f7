"""What the numbers of a TIFF file mean, and which of its pictures is the picture.

The tags decide. What they say is read here, converted here where libvips does not do it, or refused
in a sentence that says what the file holds. Source: TIFF 6.0, its supplements, and the DNG
specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cmudrn.errors import UnsupportedImageError
from cmudrn.image.directories import (
    Layout,
    Tags,
    following_directory,
    numbers,
    open_block,
    read_directory,
)
from cmudrn.image.picture import Pixels

_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT = 254, 255, 256, 257
_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
_SAMPLES, _PLANAR, _PREDICTOR, _SUB_DIRECTORIES = 277, 284, 317, 330
_INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 332, 338, 339
_COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 529, 530, 532
_DNG_VERSION = 50706
_DECIDING = frozenset(
    {_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC}
    | {_SAMPLES, _PLANAR, _PREDICTOR, _SUB_DIRECTORIES, _INK_SET, _EXTRA_SAMPLES}
    | {_SAMPLE_FORMAT, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE, _DNG_VERSION}
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _SEPARATED: 4, _YCBCR: 3}
"""Photometric interpretations that are read -> samples of a pixel without extra ones."""

_MOSAICS = (32803, 34892)  # colour filter array, linear raw
_UNREAD_COLOURS = {
    4: "a transparency mask",
    8: "CIE Lab colours",
    9: "ICC Lab colours",
    10: "ITU Lab colours",
    32803: "a colour filter mosaic of a camera (raw data)",
    32844: "logarithmic luminances (LogL)",
    32845: "logarithmic colours (LogLuv)",
    34892: "linear raw data of a camera",
    51177: "a depth map",
    52527: "a semantic mask",
}
_JPEG = 7
_COMPRESSIONS = (1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946)
_UNREAD_COMPRESSIONS = {
    6: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGI Log",
    34677: "SGI Log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a raw file",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_FORMATS = {_UNSIGNED: "unsigned", _SIGNED: "signed", _FLOAT: "floating point", _UNDEFINED: "plain"}
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_ASSOCIATED, _UNASSOCIATED = 1, 2

_MAX_BELOW = 64  # directories below those of the chain that are looked at

_PLAIN_COEFFICIENTS = (0.299, 0.587, 0.114)
_PLAIN_REFERENCE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a TIFF file mean.

    Attributes:
        page: which directory of the file's chain holds the picture, from 0.
        place: where this directory stands, bytes from the start of the file.
        colours: samples of a pixel that are colours, palettes and inks converted to RGB.
        alpha: which sample of a pixel is its opacity; None where none is.
        negative: whether 0 is white in samples that libvips leaves as they are.
        ycbcr: coefficients of red, green and blue in luma, and the six reference values; None where
            the colours are no YCbCr, or libvips converts them.
        notes: sentences about what reading changes or leaves out.
    """

    page: int
    place: int
    colours: int
    alpha: int | None = None
    negative: bool = False
    ycbcr: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    notes: tuple[str, ...] = ()


def read_meaning(file: BinaryIO, name: str) -> Meaning | None:
    """Return what the numbers of a TIFF file mean, or None where it is too damaged to tell.

    Args:
        file: a TIFF file; its position moves.
        name: what messages call it.

    Raises:
        UnsupportedImageError: the file holds something else than one grey, palette, RGB, YCbCr or
            CMYK picture, or stores it in a way that is not read.
    """
    if not (opened := open_block(file)):
        return None
    layout, first = opened
    places = _chain(file, layout, first)
    pages = [read_directory(file, layout, place, _DECIDING) for place in places]
    inner = [place for page in pages for place in _whole(page, _SUB_DIRECTORIES)]
    below = [read_directory(file, layout, place, _DECIDING) for place in inner[:_MAX_BELOW]]
    if not any(_whole(page, _WIDTH) for page in pages):
        return None
    _refuse_raw(file, pages, below, name)
    page = _choose_page(pages, below, name)
    notes: tuple[str, ...] = ()
    if len(pages) > 1 or below:
        notes = ("Smaller copies or masks of the picture inside it are left out.",)
    return _meaning_of(pages[page], page, places[page], notes, name)


def _chain(file: BinaryIO, layout: Layout, first: int) -> list[int]:
    """Return where the directories of a file stand; a chain that closes ends."""
    places: list[int] = []
    place = first
    while place and place not in places:
        places.append(place)
        place = following_directory(file, layout, place)
    return places


def _refuse(name: str, sentence: str) -> UnsupportedImageError:
    return UnsupportedImageError(f"{name} {sentence}", path=name)


def _refuse_raw(file: BinaryIO, pages: list[Tags], below: list[Tags], name: str) -> None:
    file.seek(8)
    every = [*pages, *below]
    mosaic = any(_first(page, _PHOTOMETRIC, 1) in _MOSAICS for page in every)
    if mosaic or file.read(2) == b"CR" or any(_DNG_VERSION in page for page in every):
        raise _refuse(name, "is a camera's raw file; develop it into a TIFF or JPEG first.")


def _choose_page(pages: list[Tags], below: list[Tags], name: str) -> int:
    """Return which directory of the chain holds the picture.

    Raises:
        UnsupportedImageError: none does, or several do.
    """
    full = [number for number, page in enumerate(pages) if not _is_copy(page)]
    if len(full) > 1:
        raise _refuse(
            name,
            f"holds {len(full)} pages or frames; split it first, as only single pictures "
            "are restored.",
        )
    if not full:
        inner = (
            " in a directory that is not read" if any(not _is_copy(one) for one in below) else ""
        )
        what = f"its picture{inner}" if inner else "no picture"
        raise _refuse(name, f"holds smaller copies or masks and {what}.")
    return full[0]


def _is_copy(page: Tags) -> bool:
    """Return whether a directory says that it is a smaller copy or a mask of another one."""
    kind = _first(page, _SUBFILE_TYPE, 0)
    return bool(kind & (_REDUCED | _MASK)) or _first(page, _OLD_SUBFILE_TYPE, 0) == _OLD_REDUCED


def _meaning_of(page: Tags, number: int, place: int, notes: tuple[str, ...], name: str) -> Meaning:
    colours = _check_colours(page, name)
    _check_samples(page, name)
    _check_storage(page, name)
    photometric = _first(page, _PHOTOMETRIC, -1)
    samples = _first(page, _SAMPLES, 1)
    shown = 3 if photometric in (_PALETTE, _SEPARATED) else colours  # libvips converts these two
    alpha, told = _check_extras(page, colours, samples, name)
    if alpha is not None:
        alpha += shown - colours
    is_float = _first(page, _SAMPLE_FORMAT, _UNSIGNED) == _FLOAT
    ycbcr = None
    if photometric == _YCBCR and _first(page, _COMPRESSION, 1) != _JPEG:
        ycbcr = _check_ycbcr(page, name)
        told = (*told, "Its YCbCr colours were converted to RGB.")
    return Meaning(
        number,
        place,
        shown,
        alpha,
        photometric == _WHITE_IS_ZERO and is_float,
        ycbcr,
        (*notes, *told),
    )


def _check_colours(page: Tags, name: str) -> int:
    """Return the samples of a pixel that are colours."""
    photometric = _first(page, _PHOTOMETRIC, -1)
    if photometric not in _COLOURS:
        what = _UNREAD_COLOURS.get(photometric)
        if photometric == -1:
            what = "no word on what its numbers mean (photometric interpretation)"
        raise _refuse(
            name,
            f"holds {what or f'numbers of the unknown photometric interpretation {photometric}'}; "
            "grey, palette, RGB, YCbCr and CMYK pictures are restored.",
        )
    if photometric == _SEPARATED and _first(page, _INK_SET, 1) != 1:
        raise _refuse(name, "holds inks other than cyan, magenta, yellow and black.")
    return _COLOURS[photometric]


def _check_samples(page: Tags, name: str) -> None:
    formats = set(_whole(page, _SAMPLE_FORMAT)) or {_UNSIGNED}
    bits = set(_whole(page, _BITS)) or {1}
    if len(formats) > 1 or len(bits) > 1:
        raise _refuse(name, "holds samples of several types in one pixel.")
    (form,), (depth,) = formats, bits
    photometric = _first(page, _PHOTOMETRIC, -1)
    depths: tuple[int, ...] = {_UNSIGNED: (8, 16), _UNDEFINED: (8, 16), _FLOAT: (16, 32)}.get(
        form, ()
    )
    if photometric in (_PALETTE, _YCBCR):
        depths = (8,) if form != _FLOAT else ()
    if photometric == _SEPARATED and form == _FLOAT:
        depths = ()
    single = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
    if single and form in (_UNSIGNED, _UNDEFINED) and _first(page, _SAMPLES, 1) == 1:
        depths = (1, 2, 4, *depths)
    if depth not in depths:
        kind = _FORMATS.get(form, "complex")
        raise _refuse(
            name,
            f"holds {kind} samples of {depth} bits; unsigned ones of 8 and 16 bits (1, 2 and 4 in "
            "grey and palette pictures) and floating point ones of 16 and 32 bits are restored.",
        )


def _check_storage(page: Tags, name: str) -> None:
    compression = _first(page, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        what = _UNREAD_COMPRESSIONS.get(compression, f"the unknown method {compression}")
        raise _refuse(name, f"is compressed by {what}, which is not read here.")
    if _first(page, _PLANAR, 1) not in (1, 2):
        raise _refuse(name, "stores its samples in an unknown planar configuration.")
    predictor = _first(page, _PREDICTOR, 1)
    if predictor not in (1, 2, 3):
        raise _refuse(name, f"stores its samples by the predictor {predictor}, which is not read.")


def _check_extras(
    page: Tags, colours: int, samples: int, name: str
) -> tuple[int | None, tuple[str, ...]]:
    """Return which sample is the opacity, and what to say of the others."""
    extras = _whole(page, _EXTRA_SAMPLES)[: max(samples - colours, 0)]
    extras += [0] * (samples - colours - len(extras))
    if samples < colours:
        raise _refuse(name, f"has {samples} samples a pixel where its colours need {colours}.")
    known = [at for at, kind in enumerate(extras) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    unknown = len(extras) - len(known)
    if len(known) > 1 or (unknown and colours != 3) or (extras and colours == 4):
        raise _refuse(
            name,
            f"holds {samples} channels, of which {len(extras)} are beside its colours; "
            "grey, RGB and CMYK pictures are restored, grey and RGB ones also with alpha.",
        )
    notes = []
    if unknown:
        notes.append(f"Channels of no stated meaning ({unknown}) are left out.")
    if not known:
        return None, tuple(notes)
    if extras[known[0]] == _ASSOCIATED:  # libvips divides by it
        notes.append("Its colours were multiplied by its alpha; they are written without that.")
    return colours + known[0], tuple(notes)


def _check_ycbcr(page: Tags, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    subsampling = _whole(page, _SUBSAMPLING) or [2, 2]
    if subsampling != [1, 1] or _first(page, _PLANAR, 1) != 1:
        raise _refuse(
            name, "holds YCbCr colours of reduced resolution; those are read only as JPEG data."
        )
    coefficients = tuple(numbers(page.get(_COEFFICIENTS))) or _PLAIN_COEFFICIENTS
    reference = tuple(numbers(page.get(_REFERENCE))) or _PLAIN_REFERENCE
    spans = [white - black for black, white in zip(reference[::2], reference[1::2], strict=False)]
    sound = len(coefficients) == 3 and len(reference) == 6
    if not sound or min(*coefficients, *spans) <= 0:
        raise _refuse(name, "says of its YCbCr colours what cannot be.")
    return coefficients, reference


def convert(samples: Pixels, meaning: Meaning) -> Pixels:
    """Return (H, W, C) samples of libvips as grey or RGB, followed by the opacity if there is one.

    Args:
        samples: (H, W, C), uint8, uint16 or float32.
        meaning: of these samples.
    """
    colours = samples[..., : meaning.colours]
    if meaning.negative:
        colours = np.float32(1) - colours
    if meaning.ycbcr is not None:
        colours = _to_rgb(colours, *meaning.ycbcr)
    if meaning.alpha is None:
        return colours
    alpha = samples[..., meaning.alpha : meaning.alpha + 1]
    return np.concatenate([colours, alpha], axis=2)


def _to_rgb(
    samples: Pixels, coefficients: tuple[float, ...], reference: tuple[float, ...]
) -> Pixels:
    black, white = np.array(reference[::2]), np.array(reference[1::2])
    scaled = (samples - black) / (white - black) * np.array([255, 127, 127])
    luma, blue_difference, red_difference = np.moveaxis(scaled, 2, 0)
    of_red, of_green, of_blue = coefficients
    red = luma + (2 - 2 * of_red) * red_difference
    blue = luma + (2 - 2 * of_blue) * blue_difference
    green = (luma - of_red * red - of_blue * blue) / of_green
    rgb = np.stack([red, green, blue], axis=2)
    converted: Pixels = np.rint(np.clip(rgb, 0, 255)).astype(np.uint8)
    return converted


def _whole(page: Tags, tag: int) -> list[int]:
    return [int(number) for number in numbers(page.get(tag))]


def _first(page: Tags, tag: int, otherwise: int) -> int:
    found = _whole(page, tag)
    return found[0] if found else otherwise
