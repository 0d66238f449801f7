"""A photograph with EXIF, GPS, XMP and a colour profile."""

from __future__ import annotations

import io

from PIL import Image as Pillow
from PIL import ImageCms, PngImagePlugin

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # holds the time


def make_metadata() -> dict:
    exif = Pillow.Exif()
    exif[0x010F] = "A maker"
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0x9003: "2021:02:03 04:05:06", 0xA002: 64, 0xA003: 40})
    exif.get_ifd(0x8825).update({1: "N", 2: (50.0, 6.0, 7.5), 3: "E", 4: (8.0, 9.0, 10.25)})
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\N{SNOWMAN} ü</a></x:xmpmeta>'.encode()
    return {"exif": exif, "icc_profile": SRGB, "xmp": xmp}


def make_photo(format: str) -> bytes:
    stream = io.BytesIO()
    photo = Pillow.linear_gradient("L").resize((64, 40)).convert("RGB")
    metadata = make_metadata()
    if format == "PNG":  # Pillow writes XMP into a PNG only as a text chunk
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata.pop("xmp").decode())
        metadata["pnginfo"] = text
    photo.save(stream, format, **metadata)
    return stream.getvalue()
