"""Windows bitmaps (BMP), which libvips leaves to ImageMagick.

Read: 1 to 8 bits with a palette, plain or as runs; 16, 24 and 32 bits with any bit masks; the
headers of Windows 2 to 5 and of OS/2 1.
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

_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_MASKED = (_BITFIELDS, _ALPHA_BITFIELDS)
_EMBEDDED = {4: "a JPEG", 5: "a PNG", 11: "inks", 12: "inks", 13: "inks"}
_FIVE_BITS = (0x7C00, 0x3E0, 0x1F)
_MAX_RUN_BYTES = 32 << 20  # which take some ten seconds
_BAND = 256  # rows that are put in order at once
_BGR_MASKS = (0xFF0000, 0xFF00, 0xFF)
_ALPHA_MASK = 0xFF000000

UNUSED_BYTE = "The fourth byte of its pixels, which this kind of BMP does not use, is left out."
"""What to say of what may be meant as opacity; Windows, browsers and editors pass over it."""


@dataclass(frozen=True)
class Header:
    """What a BMP file's header says.

    Attributes:
        width: pixels.
        height: pixels.
        bits: per pixel.
        offset: where the pixels start, bytes from the start of the file.
        top_down: whether the first row of the file is the top one.
        masks: which bits of a pixel of 16 or 32 bits are red, green, blue and, if there are four,
            opacity.
        compression: 0 for none, 1 and 2 for runs of 8 and 4 bits.
        palette: (N, 3) RGB, empty for true colour.
        metres: horizontal and vertical pixels per metre; 0 is unknown.
        profile: the ICC profile in a version 5 file, or nothing.
        fills_unused_byte: whether the fourth bytes of pixels that have none say something.
    """

    width: int
    height: int
    bits: int
    offset: int
    top_down: bool
    masks: tuple[int, ...]
    compression: int
    palette: Bytes
    metres: tuple[int, int]
    profile: bytes
    fills_unused_byte: bool = False

    @property
    def alpha(self) -> bool:
        """Whether a pixel has an opacity."""
        return self.bits in (16, 32) and len(self.masks) == 4 and bool(self.masks[3])

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
        offset, size = struct.unpack_from("<II", data, 10)
        if size < 40:
            return _read_old_header(data, offset, size, name)
        width, height, planes, bits, compression, _, x, y, colours, _ = struct.unpack_from(
            "<2iHHII2iII", data, 18
        )
        masks: tuple[int, ...] = _BGR_MASKS
        if compression in _MASKED:
            masks = struct.unpack_from("<4I" if size >= 56 else "<3I", data, 54)
    except struct.error as error:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name) from error
    _check_kind(planes, bits, compression, name)
    _check_size(width, height, name)
    if compression not in _MASKED:
        masks = _FIVE_BITS if bits == 16 else _BGR_MASKS
    if len(masks) == 3 and compression == _ALPHA_BITFIELDS:
        masks = struct.unpack_from("<4I", data.ljust(70, b"\0"), 54)
    start = 14 + size + (12 if size == 40 and compression in _MASKED else 0)
    return Header(
        width,
        abs(height),
        bits,
        offset,
        height < 0,
        masks,
        compression if compression in (_RLE8, _RLE4) else _RGB,
        _palette(data, start, bits, 4, colours, name),
        (max(x, 0), max(y, 0)),
        _profile(data, size),
        bits == 32 and compression == _RGB and _says_something(data[offset + 3 :: 4]),
    )


def _says_something(unused: bytes) -> bool:
    """Return whether bytes that readers pass over are neither all 0 nor all 255."""
    return bool(unused.strip(b"\0") and unused.strip(b"\xff"))


def _read_old_header(data: bytes, offset: int, size: int, name: str) -> Header:
    """Return the header of a file of Windows 2 or OS/2 1."""
    if size != 12:
        raise UnsupportedImageError(f"{name} is a BMP of OS/2 2, which is not read.", path=name)
    width, height, planes, bits = struct.unpack_from("<4H", data, 18)
    _check_kind(planes, bits, _RGB, name)
    _check_size(width, height, name)
    palette = _palette(data, 26, bits, 3, min(1 << bits, (offset - 26) // 3), name)
    masks = _FIVE_BITS if bits == 16 else _BGR_MASKS
    return Header(width, height, bits, offset, False, masks, _RGB, palette, (0, 0), b"")


def _check_kind(planes: int, bits: int, compression: int, name: str) -> None:
    if compression in _EMBEDDED:
        what = _EMBEDDED[compression]
        raise UnsupportedImageError(f"{name} is a BMP that holds {what}; not read.", path=name)
    known = (
        (compression == _RGB and bits in (1, 2, 4, 8, 16, 24, 32))
        or (compression in _MASKED and bits in (16, 32))
        or (compression, bits) in ((_RLE8, 8), (_RLE4, 4))
    )
    if planes != 1 or not known:
        raise UnsupportedImageError(
            f"{name} is a BMP of {bits} bits and the compression {compression}, which is not read.",
            path=name,
        )


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height == 0:
        raise DamagedImageError(f"{name} is damaged: its header gives no size.", path=name)


def _palette(data: bytes, start: int, bits: int, size: int, colours: int, name: str) -> Bytes:
    """Return the (N, 3) RGB colours of a palette of entries of a size; none of true colour."""
    count = min(colours or 1 << bits, 1 << bits) if bits <= 8 else 0
    entries = np.frombuffer(data[start : start + size * count], np.uint8)
    if entries.size < size * count:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name)
    return entries.reshape(-1, size)[:, 2::-1]


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
    if header.compression != _RGB:
        return _colours_of(_read_runs(data, header, name), header, name)
    length = header.stride * header.height
    rows = np.frombuffer(data[header.offset : header.offset + length], np.uint8)
    if rows.size < length:
        raise DamagedImageError(f"{name} is damaged or cut short.", path=name)
    rows = rows.reshape(header.height, header.stride)
    if not header.top_down:
        rows = rows[::-1]
    if header.bits <= 8:
        return _look_up(rows, header, name)
    if header.bits == 16 or (header.bits == 32 and header.masks[:3] != _BGR_MASKS):
        return _read_masked(rows, header)
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
    return _colours_of(rows[:, : header.width], header, name)


def _colours_of(indices: Bytes, header: Header, name: str) -> Bytes:
    """Return the colours of places in the palette."""
    if indices.size and indices.max() >= len(header.palette):
        raise DamagedImageError(
            f"{name} is damaged: a pixel points outside the palette.", path=name
        )
    grey = bool((header.palette == header.palette[:, :1]).all())
    return header.palette[:, 0][indices] if grey else header.palette[indices]


def _read_masked(rows: Bytes, header: Header) -> Bytes:
    """Return the pixels of rows whose channels are bits of a number, stretched to 0 to 255."""
    size = header.bits // 8
    used = np.ascontiguousarray(rows[:, : header.width * size])
    words = used.view(f"<u{size}").astype(np.uint32)
    masks = header.masks if header.alpha else header.masks[:3]
    pixels = np.zeros((*words.shape, len(masks)), np.uint8)
    for channel, mask in enumerate(masks):
        if mask:
            lowest = (mask & -mask).bit_length() - 1
            most = mask >> lowest
            values = (words & mask) >> lowest
            pixels[..., channel] = np.rint(values * (255.0 / most))
    return pixels


def _read_runs(data: bytes, header: Header, name: str) -> Bytes:
    """Return the places in the palette of a picture of runs, (H, W), the first row at the top."""
    width, pixels = header.width, bytearray(header.width * header.height)
    x, y, at, last = 0, 0, header.offset, min(len(data), header.offset + _MAX_RUN_BYTES)
    while y < header.height:
        if at + 2 > last:
            raise DamagedImageError(
                f"{name} is damaged, cut short, or has too many runs.", path=name
            )
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = _run(bytes([value]), header.compression) * count
            run = run[:count]
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:
            step = data[at : at + 2].ljust(2, b"\1")
            x, y, at = x + step[0], y + step[1], at + 2
            continue
        else:
            length = (value + 1) // 2 if header.compression == _RLE4 else value
            run = _run(data[at : at + length], header.compression)[:value]
            at += length + length % 2
        if shown := run[: max(width - x, 0)]:
            start = y * width + x
            pixels[start : start + len(shown)] = shown
        x += len(run)
    indices = np.frombuffer(pixels, np.uint8).reshape(header.height, width)
    return indices if header.top_down else indices[::-1]


def _run(stored: bytes, compression: int) -> bytes:
    """Return places in the palette, a byte each, as a run stores them: a byte, or half of one."""
    if compression == _RLE8:
        return stored
    return bytes(half for byte in stored for half in (byte >> 4, byte & 15))


def _unpacked(rows: Bytes, bits: int) -> Bytes:
    """Return rows of 1, 2 or 4 bits a pixel with a byte a pixel."""
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
