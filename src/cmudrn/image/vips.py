"""libvips, set up once for every room: it opens four formats only, and caches nothing."""

from __future__ import annotations

import pyvips

LOADERS = ("jpegload_source", "pngload_source", "tiffload_source", "webpload_source")
"""The only operations of libvips that may open a file; it has some forty."""

pyvips.operation_block_set("VipsForeignLoad", True)
for _loader in ("Jpeg", "Png", "Tiff", "Webp"):
    pyvips.operation_block_set(f"VipsForeignLoad{_loader}Source", False)
pyvips.cache_set_max(0)  # the cache would hold on to decoded pictures and open files


def reason(error: pyvips.Error) -> str:
    """Return the first line of what libvips says went wrong, without a full stop."""
    lines = str(error.detail or error.message).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else "no reason given"


__all__ = ["LOADERS", "pyvips", "reason"]
