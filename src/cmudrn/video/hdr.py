"""Clips of high dynamic range: the space they are restored in, and their mastering display."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASTERING = struct.Struct("=22i")
"""FFmpeg's AVMasteringDisplayMetadata: ten fractions, and whether each half of them is known."""
_LIGHT = struct.Struct("=2I")
"""FFmpeg's AVContentLightMetadata."""


@dataclass(frozen=True)
class Mastering:
    """Static metadata of HDR10 (SMPTE ST 2086 and CTA-861.3).

    Attributes:
        primaries: x and y of red, green, blue and white; empty if unknown.
        luminance: least and greatest of the display, cd/m^2; empty if unknown.
        light: greatest of a pixel, and of the mean of a frame, cd/m^2; empty if unknown.
    """

    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    light: tuple[int, ...] = ()

    def options(self, encoder: str) -> list[str]:
        """Return what an encoder is told, "name=value" each; nothing if it stores none."""
        if encoder not in _NAMES:
            return []
        display, light, scaled = _NAMES[encoder]
        options = []
        if self.primaries and self.luminance:
            chroma, luma = (50_000, 10_000) if scaled else (1, 1)
            xy = [_number(value * chroma, scaled) for value in self.primaries]
            pairs = [f"({x},{y})" for x, y in zip(xy[::2], xy[1::2], strict=True)]
            least, most = (_number(value * luma, scaled) for value in self.luminance)
            red, green, blue, white = pairs
            options.append(f"{display}=G{green}B{blue}R{red}WP{white}L({most},{least})")
        if self.light:
            options.append(f"{light}={self.light[0]},{self.light[1]}")
        return options


UNKNOWN = Mastering()
"""Of clips that say nothing about it."""

_NAMES = {
    "libx264": ("mastering-display", "cll", True),
    "libx265": ("master-display", "max-cll", True),
    "libsvtav1": ("mastering-display", "content-light", False),
}
"""Encoder -> its names for both records, and whether it counts in the units of the standards."""


def _number(value: float, whole: bool) -> str:
    return str(round(value)) if whole else f"{value:.6g}"


def mastering_of(frame: Any) -> Mastering:
    """Return what a decoded frame says of its mastering display and its light."""
    display = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    light = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    if display is not None and len(bytes(display)) >= _MASTERING.size:
        *parts, has_primaries, has_luminance = _MASTERING.unpack(bytes(display)[: _MASTERING.size])
        values = [n / d if d else 0.0 for n, d in zip(parts[::2], parts[1::2], strict=True)]
        primaries = tuple(values[:8]) if has_primaries else ()
        luminance = tuple(values[8:]) if has_luminance else ()
    levels: tuple[int, ...] = ()
    if light is not None and len(bytes(light)) >= _LIGHT.size:
        levels = _LIGHT.unpack(bytes(light)[: _LIGHT.size])
    return Mastering(primaries, luminance, levels)


PQ = 16
"""Number of the transfer SMPTE ST 2084 in ITU-T H.273."""
PEAK = 1000.0
"""Light that is white for the network, cd/m^2, as of a nominal HLG display; more goes around it."""
_STEPS = 65535
_HIGHEST = 1.5
"""Value at the end of the table back: 10,000 cd/m^2 are 1.415."""


def from_pq(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return PQ as light over `PEAK` behind the curve of HLG, float32; white is 1, most is 1.415.

    Networks see the contrast of usual pictures so: in PQ the white of paper is at 0.58, and its
    shadows are stretched. Curves: ITU-R BT.2100.

    Args:
        values: of any shape, 0 to 65535.
    """
    signal: NDArray[np.float32] = _tables()[0][values]
    return signal


def to_pq(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return what `from_pq` was given; of any shape."""
    places = np.rint(np.clip(values, 0, _HIGHEST) * np.float32(_STEPS / _HIGHEST))
    codes: NDArray[np.uint16] = _tables()[1][places.astype(np.uint16)]
    return codes


@cache
def _tables() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = (np.arange(_STEPS + 1) / _STEPS) ** (1 / m2)
    light = 10_000 / PEAK * (np.maximum(code - c1, 0) / (c2 - c3 * code)) ** (1 / m1)
    bright = a * np.log(np.maximum(12 * light - b, 1e-9)) + c
    forth = np.where(light <= 1 / 12, np.sqrt(3 * light), bright)
    signal = np.arange(_STEPS + 1) / _STEPS * _HIGHEST
    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    power = np.minimum(light * PEAK / 10_000, 1) ** m1
    back = ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    return forth.astype(np.float32), np.rint(back * _STEPS).astype(np.uint16)
