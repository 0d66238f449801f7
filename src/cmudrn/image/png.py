"""PNG files: what stands in their chunks beside pixels.

Source: PNG specification, third edition, and its extensions; ImageMagick's raw profiles.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from cmudrn.errors import DamagedImageError, UnsupportedImageError
from cmudrn.image.containers import (
    CREDENTIALS,
    Contents,
    Density,
    inflate,
    iptc_resource,
    printable,
    read_at,
    trailer_note,
)

_START = 8  # bytes of the signature
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOURS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"mDCv", b"cLLi")
_METADATA = (b"iCCP", b"eXIf", b"pHYs", b"caBX")
_PALETTE = 3
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type -> bits of a channel."""
_METHODS = ("compression", "filter", "interlace")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PLACES = (b"oFFs", b"vpAg", b"caNv")  # of the picture on a page
_OTHERS = (b"pCAL", b"sCAL", b"sTER", b"tIME")
_XMP = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_MAX_TEXT = 32 << 20


def check_chunks(file: BinaryIO, name: str) -> None:
    """Refuse a PNG whose numbers mean nothing that the standard says.

    Raises:
        UnsupportedImageError: it is an animation, or of a method or with a critical chunk that is
            not the standard's.
        DamagedImageError: its header says no size or no depth, or it has no palette.
    """
    colour_type, seen = -1, set()
    for kind, length in _chunks(file):
        seen.add(kind)
        if kind == b"IHDR":
            head = file.read(length)
            _check_header(head, name)
            colour_type = head[9]
        elif kind == b"acTL" and b"IDAT" not in seen:
            sentence = f"{name} is an animation; only single pictures are restored."
            raise UnsupportedImageError(sentence, path=name)
        elif kind[:1].isupper() and kind.isalpha() and kind not in _PIXELS:
            said = printable(kind)
            sentence = f"{name} holds the critical PNG chunk {said}, which is not the standard's."
            raise UnsupportedImageError(sentence, path=name)
    if colour_type == _PALETTE and b"PLTE" not in seen:
        raise DamagedImageError(f"{name} is damaged: its palette is missing.", path=name)


def _check_header(head: bytes, name: str) -> None:
    if len(head) < 13 or not any(head[:4]) or not any(head[4:8]):
        raise DamagedImageError(f"{name} is damaged: its header gives no size.", path=name)
    bits, colour_type = head[8], head[9]
    if bits not in _DEPTHS.get(colour_type, ()):
        sentence = f"{name} is damaged: PNG has no colour type {colour_type} of {bits} bits."
        raise DamagedImageError(sentence, path=name)
    for what, value, known in zip(_METHODS, head[10:13], (0, 0, 1), strict=True):
        if value > known:
            sentence = f"{name} is a PNG of the {what} method {value}, which is not read."
            raise UnsupportedImageError(sentence, path=name)


def read_png(file: BinaryIO, *, turned: bool = False) -> Contents:
    """Return what a PNG holds beside its pixels.

    Args:
        file: a PNG file; its position moves.
        turned: whether the picture is turned upright, which makes places on a page stale.
    """
    contents, head, cut = Contents(), b"", False
    left_out: list[str] = []
    for name, length in _chunks(file):
        body = file.read(length) if name not in (b"IDAT", b"PLTE") else b""
        if name == b"IHDR":
            head = body
        if name in _PIXELS:
            if name == b"PLTE" and head[9:10] != bytes([_PALETTE]):
                left_out.append("PLTE")  # colours that a program may take where it has few
            continue
        if cut := len(body) < length:
            break  # the file ends here
        if _take(name, body, contents):
            continue
        if _is_kept(name, head, turned):
            contents.add("png-chunks", make_chunk(name, body))
        else:
            left_out.append(printable(name))
    if left_out:
        named = ", ".join(dict.fromkeys(left_out))
        contents.notes.append(f"Its PNG chunks {named} are left out.")
    contents.notes += _behind(file, cut)
    return contents


def _take(name: bytes, body: bytes, contents: Contents) -> bool:
    """Take a chunk of a kind of metadata; return whether it was one."""
    if name in _TEXTS:
        _read_text(name, body, contents)
    elif name in _COLOURS:
        contents.add("png-colours", make_chunk(name, body))
    elif name in _METADATA:
        _read_metadata(name, body, contents)
    else:
        return False
    return True


def _read_metadata(name: bytes, body: bytes, contents: Contents) -> None:
    match name:
        case b"iCCP":
            title, _, packed = body.partition(b"\0")
            if profile := inflate(packed[1:], _MAX_TEXT):
                contents.set_first("icc-profile-data", profile)
                contents.set_first("png-profile-name", title)
            else:
                contents.notes.append("Its colour profile is damaged and left out.")
        case b"eXIf":
            contents.metadata["exif-data"] = body.removeprefix(b"Exif\0\0")
        case b"pHYs":
            contents.density = _density(body)
        case _:
            contents.notes.append(CREDENTIALS)


def _is_kept(name: bytes, head: bytes, turned: bool) -> bool:
    """Return whether a chunk holds for the result too."""
    if name in _PLACES:
        return not turned
    if name == b"bKGD":  # a number in the palette, or of few bits, would mean another colour
        return head[8:9] >= b"\x08" and head[9:10] != b"\3"
    safe_to_copy = bool(name[3] & 0x20)
    return name in _OTHERS or safe_to_copy


def _density(body: bytes) -> Density | None:
    x, y = int.from_bytes(body[:4]), int.from_bytes(body[4:8])
    if not x or not y:
        return None
    return Density(Fraction(x), Fraction(y), "m" if body[8:9] == b"\1" else "")


def _read_text(name: bytes, body: bytes, contents: Contents) -> None:
    keyword, _, rest = body.partition(b"\0")
    if keyword == _XMP:
        if text := _text(name, rest):
            contents.metadata["xmp-data"] = text
        elif rest.strip(b"\0\1"):
            contents.notes.append("Its XMP data is damaged and left out.")
    elif keyword.startswith(_RAW_PROFILE):
        _read_raw_profile(keyword.removeprefix(_RAW_PROFILE).lower(), _text(name, rest), contents)
    else:
        contents.add("png-texts", make_chunk(name, body))


def _text(name: bytes, rest: bytes) -> bytes:
    """Return the text of a chunk, behind its keyword."""
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return inflate(rest[1:], _MAX_TEXT)
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    return inflate(text, _MAX_TEXT) if packed else text


def _read_raw_profile(kind: bytes, text: bytes, contents: Contents) -> None:
    """Keep what ImageMagick stores as hexadecimal digits behind a name and a length."""
    match = re.match(rb"\s*\S[^\n]*\n\s*\d+\s", text)
    try:
        data = bytes.fromhex(text[match.end() if match else 0 :].decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        data = b""
    if not data:
        named = printable(kind[:20])
        contents.notes.append(f"Its raw profile of the type {named} is damaged and left out.")
    elif kind in (b"exif", b"app1") and data.startswith(b"Exif\0\0"):
        contents.set_first("exif-data", data[6:])
    elif kind == b"exif":
        contents.set_first("exif-data", data)
    elif kind in (b"xmp", b"app1"):
        contents.set_first("xmp-data", data.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
    elif kind in (b"iptc", b"8bim") and data.startswith((b"8BIM", b"Photoshop 3.0\0")):
        contents.add_resources(data)
    elif kind == b"iptc":
        contents.set_first("iptc-data", data)
    elif kind in (b"icc", b"icm"):
        contents.set_first("icc-profile-data", data)
    else:
        named = printable(kind[:20])
        contents.notes.append(f"Its raw profile of the type {named} is left out.")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of the chunks before the end, the file at their body."""
    position = _START
    while len(head := read_at(file, position, 8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4])
        yield head[4:], length
        position += 12 + length


def _behind(file: BinaryIO, cut: bool) -> list[str]:
    """Return what to say of the bytes behind a PNG, or of its missing end."""
    position = _START
    while len(head := read_at(file, position, 8)) == 8:
        position += 12 + int.from_bytes(head[:4])
        if head[4:] == b"IEND":
            note = trailer_note(file, position)
            return [note] if note else []
    gone = "; what stood behind them is left out" if cut else ""
    return [f"Its end is missing; its pixels are whole{gone}."]


def make_chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and its check."""
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def with_contents(png: memoryview, contents: Contents) -> bytes:
    """Return a PNG file with contents in place of its own metadata.

    Args:
        png: a file as libvips writes it.
        contents: what is to stand in it; what PNG cannot hold is left out.
    """
    metadata, position = contents.metadata, _START
    pixels: dict[bytes, list[memoryview]] = {name: [] for name in _PIXELS}
    while position < len(png):
        length = int.from_bytes(png[position : position + 4])
        name = bytes(png[position + 4 : position + 8])
        if name in _PIXELS:
            pixels[name].append(png[position : position + 12 + length])
        position += 12 + length
    before: list[bytes | memoryview] = [*pixels[b"IHDR"], metadata.get("png-colours", b"")]
    if profile := metadata.get("icc-profile-data"):
        title = metadata.get("png-profile-name", b"icc")
        before.append(make_chunk(b"iCCP", title + b"\0\0" + zlib.compress(profile)))
    if density := contents.density:
        before.append(_physical(density))
    if exif := metadata.get("exif-data"):
        before.append(make_chunk(b"eXIf", exif))
    if xmp := metadata.get("xmp-data"):
        before.append(make_chunk(b"iTXt", _XMP + bytes(5) + xmp))
    resources = metadata.get("photoshop-data", b"")
    if iptc := metadata.get("iptc-data"):
        resources = iptc_resource(iptc) + resources
    if resources:
        digits = re.sub(r"(.{72})", r"\1\n", resources.hex())
        text = f"\niptc\n{len(resources):8}\n{digits}\n".encode()
        packed = b"\0\0" + zlib.compress(text)
        before.append(make_chunk(b"zTXt", _RAW_PROFILE + b"iptc" + packed))
    before += [metadata.get("png-texts", b""), *pixels[b"PLTE"], *pixels[b"tRNS"]]
    before.append(metadata.get("png-chunks", b""))
    return b"".join([png[:_START], *before, *pixels[b"IDAT"], *pixels[b"IEND"]])


def _physical(density: Density) -> bytes:
    known = density.unit != ""
    found = density.per("m") if density.unit else (density.x, density.y)
    x, y = (min(max(round(axis), 1), (1 << 31) - 1) for axis in found)
    return make_chunk(b"pHYs", x.to_bytes(4) + y.to_bytes(4) + bytes([known]))
