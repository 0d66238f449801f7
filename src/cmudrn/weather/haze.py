"""The veil of far snow and rain: haze that thickens with distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.image import Image
from cmudrn.weather.particles import Floats
from cmudrn.weather.weather import NORMAL, Degraded, Range, Weather, draw, draw_light

WAVES = 6
"""Plane waves summed for the lie of the land."""


@dataclass(frozen=True)
class Haze:
    """A veil drawn for one picture: (H, W) transmission and (3,) airlight, both in [0, 1]."""

    transmission: Floats
    airlight: Floats

    def composite(self, picture: Image) -> Image:
        """Return t picture + (1 - t) airlight.

        References:
            Koschmieder, 1924; in snow: Chen et al., "JSTASR", ECCV 2020.
        """
        t = self.transmission[..., None]
        hazy: Image = t * picture + (1 - t) * self.airlight
        return hazy

    def reduced(self, factor: int) -> Haze:
        """Return the veil of a picture with 1 / factor of the rows and columns."""
        height, width = (side // factor * factor for side in self.transmission.shape)
        middle = factor // 2
        return Haze(self.transmission[middle:height:factor, middle:width:factor], self.airlight)


@dataclass(frozen=True)
class Veil:
    """Haze over a scene without known depth: far at the top, near at the bottom, uneven.

    Attributes:
        transmission: of the farthest and the nearest point, each drawn from this range.
        airlight: grey level of the haze.
        tint: greatest departure of a colour channel from grey.
        rows: height in pixels of the scene that a smaller picture is a part of; 0 means that
            every picture is a whole scene.
    """

    transmission: Range = (0.55, 0.95)
    airlight: Range = (0.8, 1.0)
    tint: float = 0.02
    rows: int = 0

    def haze(
        self, shape: tuple[int, int], rng: np.random.Generator, severity: float = NORMAL
    ) -> Haze:
        """Return the veil drawn for pictures of (H, W) pixels."""
        far, near = sorted((draw(rng, self.transmission), draw(rng, self.transmission)))
        depth = draw_depth(shape, rng, self.rows)
        thickness = -(np.log(near) + np.log(far / near) * depth) * severity / NORMAL
        airlight = draw_light(rng, self.airlight, self.tint)
        return Haze(np.exp(-thickness).astype(np.float32), airlight)


USUAL_VEIL = Veil()


def draw_depth(shape: tuple[int, int], rng: np.random.Generator, rows: int = 0) -> Floats:
    """Return (H, W) depth in [0, 1], 0 near; a window of a scene of that many rows."""
    height = max(rows, shape[0])
    top = rng.uniform(0, height - shape[0])
    y = (top + np.arange(shape[0], dtype=np.float32)) / height
    x = np.arange(shape[1], dtype=np.float32) / height
    depth = np.repeat(1 - y[:, None], shape[1], 1)
    for wave in range(1, WAVES + 1):
        fx, fy = 2 * np.pi * rng.normal(0, 0.7 * wave, 2)
        size, phase = 0.35 * rng.random() / wave, 2 * np.pi * rng.random()
        along_x, along_y = np.exp(1j * fx * x), size * np.exp(1j * (fy * y + phase))
        depth += np.outer(along_y, along_x).real
    return np.clip(depth, 0, 1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Hazy(Weather):
    """Haze alone: nothing falls.

    Attributes:
        veil: how thick and how bright.
    """

    kind = "haze"

    veil: Veil = USUAL_VEIL

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> HazyScene:
        """Return haze drawn for pictures of (H, W) pixels."""
        return HazyScene(self.veil.haze(shape, rng, self.severity))


@dataclass(frozen=True)
class HazyScene:
    """Haze drawn for a picture; it stands still."""

    haze: Haze

    def __call__(self, clean: Image, frame: int = 0) -> Degraded:  # noqa: ARG002  (it stands)
        """Return the frame in haze, with "transmission" and "airlight"."""
        haze = self.haze
        layers = {"transmission": haze.transmission, "airlight": haze.airlight}
        far, near = float(haze.transmission.min()), float(haze.transmission.max())
        parameters = {"transmission": [far, near], "airlight": haze.airlight.tolist()}
        return Degraded(np.clip(haze.composite(clean), 0, 1), layers, parameters)

    def reduced(self, factor: int) -> HazyScene:
        """Return the scene for pictures with 1 / factor of the rows and columns."""
        return HazyScene(self.haze.reduced(factor))
