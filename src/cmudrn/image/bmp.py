"""Uncompressed Windows bitmaps (BMP), which libvips leaves to ImageMagick.

Read: 1, 4 and 8 bits with a palette, 24 bits, and 32 bits with or without an alpha mask.
Written: 8 bits (grey), 24 bits (RGB) and 32 bits (RGB with alpha, version 4 header).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import DamagedImageError, UnsupportedImageError

Bytes = NDArray[np.uint8]

_RGB, _BITFIELDS = 0, 3
_BAND = 256  # rows that are put in order at once
_BGR_MASKS = (0xFF0000, 0xFF00, 0xFF)
_ALPHA_MASK = 0xFF000000


@dataclass(frozen=True)
class Header:
    """What a BMP file's header says.

    Attributes:
        width: pixels.
        height: pixels.
        bits: per pixel.
        offset: where the pixels start, bytes from the start of the file.
        top_down: whether the first row of the file is the top one.
        alpha: whether the fourth byte of a pixel is its opacity.
        palette: (N, 3) RGB, empty for true colour.
        metres: horizontal and vertical pixels per metre; 0 is unknown.
        profile: the ICC profile in a version 5 file, or nothing.
    """

    width: int
    height: int
    bits: int
    offset: int
    top_down: bool
    alpha: bool
    palette: Bytes
    metres: tuple[int, int]
    profile: bytes

    @property
    def stride(self) -> int:
        """Bytes of one row: padded to a multiple of four."""
        return (self.width * self.bits + 31) // 32 * 4


def read_header(data: bytes, name: str) -> Header:
    """Return the header of a BMP file.

    Raises:
        DamagedImageError: it is cut short or malformed.
        UnsupportedImageError: it is of a kind that is not read here.
    """
    try:
        offset, size, width, height, planes, bits, compression, _, x, y, colours, _ = (
            struct.unpack_from("<II2iHHII2iII", data, 10)
        )
        masks = struct.unpack_from("<4I" if size >= 56 else "<3I", data, 54) if compression else ()
    except struct.error as error:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name) from error
    plain = compression == _RGB and bits in (1, 4, 8, 24, 32)
    masked = compression == _BITFIELDS and bits == 32 and masks[:3] == _BGR_MASKS
    if size < 40 or planes != 1 or not (plain or masked):
        raise UnsupportedImageError(
            f"{name} is a compressed or old kind of BMP, which is not read here.", path=name
        )
    if width < 1 or height == 0:
        raise DamagedImageError(f"{name} is damaged: its header gives no size.", path=name)
    alpha = masked and masks[3:] == (_ALPHA_MASK,)
    if plain and bits == 32:  # the fourth byte is meant to be unused, but many use it
        alpha = bool(data[offset + 3 :: 4].strip(b"\0"))
    start, count = 14 + size, (colours or 1 << bits) if bits <= 8 else 0
    palette = np.frombuffer(data[start : start + 4 * min(count, 256)], np.uint8)
    if bits <= 8 and palette.size < 4 * min(count, 256):
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name)
    return Header(
        width,
        abs(height),
        bits,
        offset,
        height < 0,
        alpha,
        palette.reshape(-1, 4)[:, 2::-1],
        (max(x, 0), max(y, 0)),
        _profile(data, size),
    )


def _profile(data: bytes, header_size: int) -> bytes:
    """Return the ICC profile that a version 5 header points to, or nothing."""
    embedded = data[70:74] == b"DEBM"  # "MBED", least byte first
    if header_size < 124 or len(data) < 134 or not embedded:
        return b""
    offset, length = struct.unpack_from("<II", data, 126)
    profile = data[14 + offset : 14 + offset + length]
    return profile if len(profile) == length else b""


def read_pixels(data: bytes, header: Header, name: str) -> Bytes:
    """Return (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA pixels.

    Raises:
        DamagedImageError: the file is cut short or points outside its palette.
    """
    length = header.stride * header.height
    rows = np.frombuffer(data[header.offset : header.offset + length], np.uint8)
    if rows.size < length:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name)
    rows = rows.reshape(header.height, header.stride)
    if not header.top_down:
        rows = rows[::-1]
    if header.bits <= 8:
        return _look_up(rows, header, name)
    channels = header.bits // 8
    stored = rows[:, : header.width * channels].reshape(header.height, header.width, channels)
    order = (2, 1, 0, 3) if header.alpha else (2, 1, 0)
    pixels = np.empty((header.height, header.width, len(order)), np.uint8)
    for channel, place in enumerate(order):
        pixels[..., channel] = stored[..., place]
    return pixels


def _look_up(rows: Bytes, header: Header, name: str) -> Bytes:
    if header.bits < 8:
        rows = np.concatenate(
            [_unpacked(rows[at : at + _BAND], header.bits) for at in range(0, len(rows), _BAND)]
        )
    indices = rows[:, : header.width]
    if indices.size and indices.max() >= len(header.palette):
        raise DamagedImageError(
            f"{name} is damaged: a pixel points outside the palette.", path=name
        )
    grey = bool((header.palette == header.palette[:, :1]).all())
    return header.palette[:, 0][indices] if grey else header.palette[indices]


def _unpacked(rows: Bytes, bits: int) -> Bytes:
    """Return rows of 1 or 4 bits a pixel with a byte a pixel."""
    digits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, bits)
    places = (1 << np.arange(bits)[::-1]).astype(np.uint8)
    unpacked: Bytes = (digits * places).sum(axis=2, dtype=np.uint8)
    return unpacked


def encode(pixels: Bytes, metres: tuple[int, int] = (0, 0)) -> bytes:
    """Return a BMP file.

    Args:
        pixels: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.
        metres: horizontal and vertical pixels per metre; 0 is unknown.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    palette = b"".join(bytes((v, v, v, 0)) for v in range(256)) if channels == 1 else b""
    masks = struct.pack("<4I4s48x", *_BGR_MASKS, _ALPHA_MASK, b"BGRs") if channels == 4 else b""
    stride = (width * channels + 3) // 4 * 4
    offset = 54 + len(masks) + len(palette)
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII",
        b"BM",
        offset + stride * height,
        0,
        0,
        offset,
        40 + len(masks),
        width,
        height,
        1,
        8 * channels,
        _BITFIELDS if masks else _RGB,
        stride * height,
        *metres,
        0,
        0,
    )
    file = io.BytesIO(header + masks + palette)
    file.seek(offset)
    for end in range(height, 0, -_BAND):  # the file begins with the last row
        band = pixels[max(0, end - _BAND) : end][::-1]
        rows = np.zeros((len(band), stride), np.uint8)
        ordered = band if channels == 1 else band[..., [2, 1, 0, 3][:channels]]
        rows[:, : width * channels] = ordered.reshape(len(band), -1)
        file.write(rows.data)
    return file.getvalue()
