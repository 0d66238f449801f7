"""Rain and snow as photo editors make them: noise, threshold, motion blur, blend.

Everything is made in the frequency domain, where grain, defocus and motion blur are products; the
field tiles, so that nothing is lost at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats
from cmudrn.weather.rain import composite_light
from cmudrn.weather.weather import (
    NORMAL,
    Degraded,
    Range,
    Weather,
    draw,
    draw_light,
    draw_log,
)

BLENDS = ("add", "screen", "alpha")
PEAK = 0.998
"""Quantile of a smeared field that counts as its brightest point."""


@dataclass(frozen=True)
class Smear:
    """One field of smeared grains.

    Attributes:
        grain_px: standard deviation of the blur that makes grains of white noise.
        coverage: fraction of the field that the threshold leaves, before it is smeared.
        length_px: of the motion blur.
        defocus_px: standard deviation of the blur after it.
        angle_deg: of the motion from the vertical.
        spread_deg: the field is the mean of three whose motions differ by this.
        opacity: of the brightest points.
    """

    grain_px: float
    coverage: float
    length_px: float
    defocus_px: float
    angle_deg: float
    spread_deg: float
    opacity: float


def composite_smear(smear: Smear, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the (H, W) opacity in [0, 1] of a field, which tiles."""
    fy = np.fft.fftfreq(shape[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(shape[1]).astype(np.float32)[None, :]
    square = fx * fx + fy * fy
    noise = rng.standard_normal(shape, np.float32)
    grains = np.fft.irfft2(
        np.fft.rfft2(noise) * np.exp(np.float32(-2 * np.pi**2 * smear.grain_px**2) * square), shape
    ).astype(np.float32)
    grains /= max(float(grains.std()), 1e-6)
    level = _upper_normal(smear.coverage)
    kept = np.clip((grains - np.float32(level)) / np.float32(0.35), 0, 1)
    transfer = np.exp(np.float32(-2 * np.pi**2 * smear.defocus_px**2) * square)
    angles = np.radians(smear.angle_deg + smear.spread_deg * np.asarray([-1, 0, 1]))
    lines = [
        np.sinc(
            np.float32(smear.length_px) * (fx * np.float32(np.sin(a)) + fy * np.float32(np.cos(a)))
        )
        for a in (angles if smear.spread_deg else angles[1:2])
    ]
    smeared = np.fft.irfft2(np.fft.rfft2(kept) * (transfer * sum(lines)), shape).astype(np.float32)
    peak = float(np.quantile(smeared, PEAK))
    if peak < 1e-4:
        return np.zeros(shape, np.float32)
    field: Floats = np.clip(smeared / np.float32(peak), 0, 1.2) * np.float32(smear.opacity)
    return np.clip(field, 0, 1)


def _upper_normal(fraction: float) -> float:
    """Return the level that a standard normal value exceeds with a probability below a half.

    References:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23.
    """
    t = np.sqrt(-2 * np.log(fraction))
    top = 2.515517 + 0.802853 * t + 0.010328 * t * t
    return float(t - top / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t**3))


def blend(clean: Image, opacity: Floats, light: Floats, how: str) -> Image:
    """Return clean with light laid over it: "add", "screen" or "alpha", clipped to [0, 1]."""
    if how == "screen":
        laid: Image = 1 - (1 - clean) * (1 - opacity[..., None] * light)
        return np.clip(laid, 0, 1).astype(np.float32)
    return composite_light(clean, opacity, light, attenuates=how == "alpha")


@dataclass(frozen=True, kw_only=True)
class Editor(Weather):
    """Smeared noise in one to several layers, blended in one of the ways of photo editors.

    Attributes:
        fields: greatest number of fields; each has settings of its own but for the direction.
        grain_px: see `Smear`; drawn by magnitude, like coverage and length_px.
        coverage: see `Smear`.
        length_px: see `Smear`.
        defocus_px: see `Smear`.
        opacity: see `Smear`.
        angle_deg: see `Smear`; drawn once a picture.
        directions: probability that each field has a direction of its own.
        light: grey level of what is laid over.
        tint: greatest departure of a channel from grey.
        blends: ways of blending, equally likely.
    """

    layer: ClassVar[str]
    """Name of the layer that is returned: "streaks" of rain or "mask" of snow."""

    fields: int
    grain_px: Range
    coverage: Range
    length_px: Range
    defocus_px: Range
    opacity: Range
    angle_deg: Range
    directions: float = 0.15
    light: Range = (0.6, 1.0)
    tint: float = 0.04
    blends: tuple[str, ...] = BLENDS

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> EditorScene:
        """Return weather drawn for pictures of (H, W) pixels."""
        angle = draw(rng, self.angle_deg)
        through = np.ones(shape, np.float32)
        smears = []
        for _ in range(int(rng.integers(1, self.fields + 1))):
            own = rng.random() < self.directions
            smear = Smear(
                draw_log(rng, self.grain_px),
                draw_log(rng, self.coverage),
                draw_log(rng, self.length_px),
                draw(rng, self.defocus_px),
                draw(rng, self.angle_deg) if own else angle,
                draw(rng, (0.5, 4)) if rng.random() < 0.4 else 0.0,
                min(1.0, draw(rng, self.opacity) * self.severity / NORMAL),
            )
            through *= 1 - composite_smear(smear, shape, rng)
            smears.append(smear)
        light = draw_light(rng, self.light, self.tint)
        how = self.blends[int(rng.integers(len(self.blends)))]
        parameters = {"blend": how, "light": light.tolist(), "fields": len(smears)}
        fall = smears[0].length_px
        motion = (fall * np.cos(np.radians(angle)), fall * np.sin(np.radians(angle)))
        return EditorScene(1 - through, light, how, self.layer, motion, parameters)


@dataclass(frozen=True)
class EditorScene:
    """Smeared noise or lines, drawn for a picture or a sequence."""

    opacity: Floats
    light: Floats
    how: str
    layer: str
    motion: tuple[float, float]
    parameters: dict[str, Any]

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:
        """Return the frame in weather, with its layer."""
        moved = [round(frame * step) for step in self.motion]
        opacity = np.roll(self.opacity, moved, (0, 1)) if frame else self.opacity
        laid = blend(clean, opacity, self.light, self.how)
        return Degraded(laid, {self.layer: opacity}, self.parameters)

    def reduced(self, factor: int) -> EditorScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        height, width = (side // factor * factor for side in self.opacity.shape)
        blocks = self.opacity[:height, :width].reshape(
            height // factor, factor, width // factor, factor
        )
        motion = (self.motion[0] / factor, self.motion[1] / factor)
        return replace(self, opacity=blocks.mean((1, 3)), motion=motion)


@dataclass(frozen=True, kw_only=True)
class EditorRain(Editor):
    """Rain as photo editors make it."""

    kind = "rain"
    layer = "streaks"


@dataclass(frozen=True, kw_only=True)
class EditorSnow(Editor):
    """Snow as photo editors make it."""

    kind = "snow"
    layer = "mask"
