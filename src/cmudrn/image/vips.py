"""libvips, set up once for every room: it opens six formats only, caches and prints nothing."""

from __future__ import annotations

from typing import Any

import pyvips

_LOADERS = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "tiff": "tiffload_source",
    "webp": "webpload_source",
    "avif": "heifload_source",
    "gif": "gifload_source",
}
LOADERS = tuple(_LOADERS.values())
"""The only operations of libvips that may open a file; it has some forty."""

pyvips.operation_block_set("VipsForeignLoad", True)
for _loader in ("Jpeg", "Png", "Tiff", "Webp", "Heif", "Nsgif"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}Source", False)
pyvips.cache_set_max(0)  # the cache would hold on to decoded pictures and open files

# Warnings quote what a file holds, and there can be thousands: none may reach a terminal or a log.
_EVERY_LEVEL = 0xFF
_nothing = pyvips.ffi.callback("GLogFunc", lambda *_: None)
pyvips.glib_lib.g_log_set_handler(b"VIPS", _EVERY_LEVEL, _nothing, pyvips.ffi.NULL)

VipsErrors = (pyvips.Error, UnicodeDecodeError)
"""What calls of libvips raise; the second where a message quotes bytes that are no text."""


def reason(error: Exception) -> str:
    """Return the first line of what libvips says went wrong, without a full stop."""
    if isinstance(error, UnicodeDecodeError):
        pyvips.vips_lib.vips_error_clear()
        return "no reason that is text"
    lines = str(getattr(error, "detail", "") or getattr(error, "message", "")).strip().splitlines()
    text = "".join(c for c in lines[0] if c.isprintable()) if lines else ""
    return text[:200].strip().rstrip(".") or "no reason given"


def loader(kind: str) -> Any:
    """Return the operation that opens a file of a format from a `pyvips.Source`."""
    return getattr(pyvips.Image, _LOADERS[kind])


def field_names(image: Any) -> set[str]:
    """Return the names of an image's metadata, but for those that are no text.

    `pyvips.Image.get_fields` fails where a PNG has a keyword in Latin-1.
    """
    ffi, glib = pyvips.ffi, pyvips.glib_lib
    found, position = set(), 0
    array = pyvips.vips_lib.vips_image_get_fields(image.pointer)
    while array[position] != ffi.NULL:
        name = bytes(ffi.string(array[position]))
        glib.g_free(array[position])
        position += 1
        try:
            found.add(name.decode())
        except UnicodeDecodeError:
            continue
    glib.g_free(array)
    return found


__all__ = ["LOADERS", "VipsErrors", "field_names", "loader", "pyvips", "reason"]
