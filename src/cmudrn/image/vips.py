"""libvips, set up once: trusted loaders only, nothing cached."""

from __future__ import annotations

import pyvips

pyvips.block_untrusted_set(True)
pyvips.cache_set_max(0)  # the cache would hold on to decoded pictures and open files


def reason(error: pyvips.Error) -> str:
    """Return the first line of what libvips says went wrong, without a full stop."""
    lines = str(error.detail or error.message).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else "no reason given"


__all__ = ["pyvips", "reason"]
