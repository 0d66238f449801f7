"""Small image files of every kind, and damage to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cmudrn.image import Picture, encode_picture


def sample_files() -> list[bytes]:
    """Return small files of every format and pixel type."""
    rng = np.random.default_rng(2)
    files = []
    formats: dict[str, tuple[type[Any], ...]] = {
        "jpeg": (np.uint8,),
        "png": (np.uint8, np.uint16),
        "tiff": (np.uint8, np.uint16, np.float32),
        "webp": (np.uint8,),
        "bmp": (np.uint8,),
    }
    for format, dtypes in formats.items():
        for dtype in dtypes:
            values = rng.random((40, 56, 3), np.float32)
            scaled = values if dtype == np.float32 else (values * np.iinfo(dtype).max).astype(dtype)
            files.append(encode_picture(Picture(scaled, format=format)))
    return files


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with a few bytes changed, a piece cut out, doubled, or its end lost."""
    damaged = bytearray(data)
    start, stop = sorted(int(i) for i in rng.integers(0, len(damaged), 2))
    match rng.integers(5):
        case 0:
            for _ in range(int(rng.integers(1, 20))):
                damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        case 1:  # the header is where sizes and offsets are
            for _ in range(int(rng.integers(1, 6))):
                damaged[int(rng.integers(min(64, len(damaged))))] = int(rng.integers(256))
        case 2:
            del damaged[start:stop]
        case 3:
            damaged[start:start] = damaged[start:stop]
        case _:
            del damaged[stop:]
    return bytes(damaged)
