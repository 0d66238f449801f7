"""Valid image files of every kind, made by Pillow and tifffile, and what must come of them.

`make_valid_file(number)` returns the same file for the same number. exiftool, where it is
installed, tells what a file holds beside pixels.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, PngImagePlugin

from cmudrn.image import (
    Picture,
    Pixels,
    encode_picture,
    read_picture,
    unsupported_features,
)

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "uint16", "float32"),
    "WEBP": ("RGB", "RGBA", "lossy"),
    "AVIF": ("RGB", "RGBA", "lossy"),
    "BMP": ("1", "L", "P", "RGB"),
}
"""Format -> colour models and depths; those named as NumPy does are written by tifffile."""

SUFFIXES = {
    "JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif", "BMP": ".bmp"
}  # fmt: skip
COMPRESSIONS = (None, "tiff_lzw", "packbits", "tiff_adobe_deflate")

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_IPTC = b"\x1c\x02P\x00\x0bJane Author\x1c\x02x\x00\x07A title"
_PACKET = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
xmp:Rating="{rating}" tiff:Orientation="{orientation}" tiff:ImageWidth="{width}"/></rdf:RDF>
</x:xmpmeta><?xpacket end="w"?>"""


@dataclass(frozen=True)
class ValidFile:
    """A file.

    Attributes:
        name: says what it holds.
        data: its bytes.
        pixels: upright, colours and opacity, (H, W) or (H, W, C), as Pillow or tifffile reads them.
        tolerance: what readers may differ by.
    """

    name: str
    data: bytes
    pixels: Pixels
    tolerance: int


def make_valid_file(number: int) -> ValidFile:
    """Return a file; a number stands for one."""
    rng = np.random.default_rng(number)
    format = str(rng.choice(list(MODES)))
    mode = str(rng.choice(MODES[format]))
    width, height = (int(side) for side in rng.integers(1, 40, 2))
    orientation = int(rng.integers(1, 9)) if format != "BMP" else 1
    image = Pillow.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    name = f"{number:05}-{mode.replace(';', '-')}-{orientation}{SUFFIXES[format]}"
    options = _metadata(rng, format, mode, orientation, (width, height))
    if mode in ("uint16", "float32"):
        return _deep_tiff(rng, name, mode, (height, width), orientation)
    stream = io.BytesIO()
    _convert(image, mode, rng).save(stream, format, **options)
    data = stream.getvalue()
    shown = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data)))
    lossy = format in ("JPEG", "AVIF") or mode == "lossy"
    return ValidFile(name, data, _shown(shown), 255 if mode == "CMYK" else 4 * lossy)


def _convert(image: Pillow.Image, mode: str, rng: np.random.Generator) -> Pillow.Image:
    if mode == "I;16":
        deep = rng.integers(0, 65536, (image.height, image.width), np.uint16)
        return Pillow.fromarray(deep)
    if mode == "lossy":
        return image.resize((2, 2)).resize(image.size)
    converted = image.convert(mode)
    if mode in ("LA", "RGBA"):
        opacity = rng.integers(0, 256, (image.height, image.width), np.uint8)
        converted.putalpha(Pillow.fromarray(opacity))
    return converted


def _shown(image: Pillow.Image) -> Pixels:
    if image.mode in ("P", "CMYK"):
        opaque = "transparency" not in image.info
        return np.asarray(image.convert("RGB" if opaque else "RGBA"))
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image)


def _metadata(
    rng: np.random.Generator, format: str, mode: str, orientation: int, size: tuple[int, int]
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if _chance(rng) and format not in ("WEBP", "AVIF"):
        options["dpi"] = tuple(int(axis) for axis in rng.integers(30, 600, 2))
    if format == "BMP":
        return options
    exif = _exif(rng, size) if _chance(rng) else Pillow.Exif()
    if orientation != 1 or _chance(rng):
        exif[0x0112] = orientation
    if len(exif):
        options["exif"] = exif
    if _chance(rng) and mode in ("RGB", "RGBA", "P", "lossy"):
        options["icc_profile"] = _SRGB
    xmp = _PACKET.format(rating=rng.integers(6), orientation=orientation, width=size[0])
    return options | _OWN[format](rng, xmp, mode, exif)


def _chance(rng: np.random.Generator, probability: float = 0.5) -> bool:
    return bool(rng.random() < probability)


def _of_jpeg(rng: np.random.Generator, xmp: str, *_: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"quality": 95, "subsampling": 0, "progressive": _chance(rng)}
    if _chance(rng):
        options["comment"] = b"shot at dawn"
    return options | ({"xmp": xmp.encode()} if _chance(rng) else {})


def _of_png(rng: np.random.Generator, xmp: str, *_: Any) -> dict[str, Any]:
    text = PngImagePlugin.PngInfo()
    if _chance(rng):
        text.add_itxt("XML:com.adobe.xmp", xmp)
    if _chance(rng):
        text.add_text("Comment", "taken at dawn", zip=_chance(rng))
    if _chance(rng, 0.2):
        text.add(b"gAMA", struct.pack(">I", 45455))
    return {"pnginfo": text}


def _of_webp(rng: np.random.Generator, xmp: str, mode: str, *_: Any) -> dict[str, Any]:
    exact = {} if mode == "lossy" else {"lossless": True, "exact": True}
    return exact | ({"xmp": xmp.encode()} if _chance(rng) else {})


def _of_avif(rng: np.random.Generator, xmp: str, *_: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4", "speed": 8}
    return options | ({"xmp": xmp.encode()} if _chance(rng) else {})


def _of_tiff(rng: np.random.Generator, xmp: str, mode: str, exif: Pillow.Exif) -> dict[str, Any]:
    compression = COMPRESSIONS[int(rng.integers(len(COMPRESSIONS)))]
    if mode == "1":
        compression = str(rng.choice(["group3", "group4", "packbits"]))
    if compression:  # libtiff's writer takes no directories of Pillow's
        orientation = exif.get(0x0112, 1)
        exif = Pillow.Exif()
        exif.update({0x0112: orientation, 0x013B: "Jane"})
    exif[700] = xmp.encode()
    return {"compression": compression, "exif": exif}


_OWN: dict[str, Callable[..., dict[str, Any]]] = {
    "JPEG": _of_jpeg,
    "PNG": _of_png,
    "WEBP": _of_webp,
    "AVIF": _of_avif,
    "TIFF": _of_tiff,
}


def _exif(rng: np.random.Generator, size: tuple[int, int]) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif.update({0x010E: "rain on a road", 0x010F: "A maker", 0x013B: "Jane"})
    inner = {0x9003: "2021:02:03 04:05:06", 0x829A: 0.25, 0x927C: rng.bytes(40)}
    inner |= {0xA001: 1, 0xA002: size[0], 0xA003: size[1]}
    gps = {1: "N", 2: (50.0, 6.0, 7.5), 3: "E", 4: (8.0, 9.0, 10.25)}
    exif.get_ifd(0x8769).update(inner)
    exif.get_ifd(0x8825).update(gps)
    exif.update({0x8769: inner, 0x8825: gps})  # Pillow writes into a TIFF what it is shown
    return exif


def _deep_tiff(
    rng: np.random.Generator, name: str, mode: str, size: tuple[int, int], orientation: int
) -> ValidFile:
    shape = size if rng.random() < 0.5 else (*size, 3)
    values = rng.random(shape, np.float32)
    pixels: Pixels = values if mode == "float32" else (values * 65535).astype(np.uint16)
    tags = [(274, 3, 1, orientation, True), (315, 2, 5, "Jane", True)]
    tags += [(33723, 7, len(_IPTC), _IPTC, True)]
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        byteorder=">" if rng.random() < 0.3 else "<",
        bigtiff=bool(rng.random() < 0.3),
        compression="zlib" if rng.random() < 0.5 else None,
        resolution=(300, 150) if rng.random() < 0.5 else None,
        extratags=tags,
    )
    turned = pixels
    if orientation >= 5:
        turned = turned.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return ValidFile(name, stream.getvalue(), turned, 0)


def pixels_of(picture: Picture) -> Pixels:
    """Return colours and opacity in one array."""
    if picture.alpha is None:
        return picture.pixels
    return np.dstack([picture.pixels, picture.alpha])


# ----------------------------------------------------------------------------- what exiftool tells

_GROUPS = (
    "System", "ExifTool", "File", "Composite", "RIFF", "VP8", "QuickTime", "Meta", "IFD1",
    "Adobe", "SourceFile",
)  # fmt: skip
_STORAGE = frozenset(
    [
        "ImageWidth",
        "ImageHeight",
        "BitDepth",
        "BitsPerSample",
        "ColorType",
        "Compression",
        "Filter",
        "Interlace",
        "Palette",
        "Transparency",
        "PhotometricInterpretation",
        "StripOffsets",
        "SamplesPerPixel",
        "RowsPerStrip",
        "Predictor",
        "StripByteCounts",
        "PlanarConfiguration",
        "SampleFormat",
        "ExtraSamples",
        "ColorMap",
        "FillOrder",
        "T4Options",
        "T6Options",
        "InkSet",
        "JFIFVersion",
        "SubfileType",
        "YCbCrPositioning",
        "JPEGTables",
        "ExifByteOrder",
        "NumColors",
        "NumImportantColors",
        "BMPVersion",
        "ImageLength",
        "Planes",
        "InkNames",
        "NumberOfInks",
        "DotRange",
    ]
)
"""Tags of how pixels are stored."""

_ICC = ("ICC-header", "ICC_Profile", "ICC-chrm", "ICC-view", "ICC-meas")


def is_storage(key: str) -> bool:
    """Return whether a tag of exiftool's tells how a file is stored rather than what it holds."""
    group, _, tag = key.partition(":")
    return group.startswith(_GROUPS) or tag in _STORAGE


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name -> what exiftool tells of each file of a folder."""
    command = ["exiftool", "-j", "-G1", "-n", "-b", "-api", "LargeFileSupport=1", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {Path(entry["SourceFile"]).name: entry for entry in json.loads(done.stdout or "[]")}


def differences(before: dict[str, Any], after: dict[str, Any], notes: str) -> list[str]:
    """Return the tags that two descriptions of a file differ in, but for what notes name.

    Turned pictures swap their sides and resolutions, and say that they are upright.
    """
    told = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    turned = any(before.get(key, 1) >= 5 for key in before if key.endswith(":Orientation"))
    turned |= before.get("QuickTime:Rotation", 0) in (90, 270)  # of an AVIF
    found = []
    for key in sorted(told):
        group, _, tag = key.partition(":")
        if group.startswith(_GROUPS) or tag in _STORAGE:
            continue
        if tag == "Orientation" and after.get(key, 1) == 1:
            continue
        if group == "JFIF" and after.get("JFIF:ResolutionUnit") == 0 and after[key] in (0, 1):
            continue  # which says nothing
        partner = key.translate(str.maketrans("XY", "YX")) if "Resolution" in tag else key
        partner = partner.replace("PixelsPerUnitX", "PixelsPerUnit*")
        partner = partner.replace("PixelsPerUnitY", "PixelsPerUnitX")
        partner = partner.replace("PixelsPerUnit*", "PixelsPerUnitY")
        sides = {"ExifImageWidth": "ExifImageHeight", "ExifImageHeight": "ExifImageWidth"}
        partner = f"{group}:{sides.get(tag, tag)}" if tag in sides else partner
        if turned and after.get(key) == before.get(partner):
            continue
        if group.startswith(_ICC) and ("CMYK" in notes or "profile" in notes):
            continue
        found.append(f"{key}: {before.get(key)!r} -> {after.get(key)!r}")
    return found


def check_files(numbers: Iterable[int], folder: Path) -> dict[str, list[str]]:
    """Return name -> what differs of files that are read and written again, and no note names.

    Args:
        numbers: of the files.
        folder: an empty folder to work in.
    """
    before, after = folder / "before", folder / "after"
    before.mkdir()
    after.mkdir()
    found: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    for number in numbers:
        valid = make_valid_file(number)
        picture = read_picture(valid.data, name=valid.name)
        written = encode_picture(picture)
        (before / valid.name).write_bytes(valid.data)
        (after / valid.name).write_bytes(written)
        notes[valid.name] = " ".join(picture.notes + unsupported_features(picture, picture.format))
        found[valid.name] = [
            f"pixels {which}"
            for which, other in (("read", picture), ("written", read_picture(written)))
            if not _are_same(pixels_of(other), valid, which)
        ]
    told, again = describe(before), describe(after)
    for name in found:
        if name in told or name in again:
            found[name] += differences(told.get(name, {}), again.get(name, {}), notes[name])
    return found


def _are_same(pixels: Pixels, valid: ValidFile, which: str) -> bool:
    expected = valid.pixels
    if pixels.shape != expected.shape:
        return False
    tolerance = valid.tolerance * (10 if which == "written" else 1)  # JPEG's second loss
    return bool(np.abs(pixels.astype(float) - expected).max() <= tolerance)
