"""The paper's layers of rain with the single streaks of Garg and Nayar's database (needs scipy)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError
from cmudrn.image import read_picture
from cmudrn.weather.camera import Exposure
from cmudrn.weather.layered_rain import LayeredRain, Screens, draw_screens
from cmudrn.weather.particles import OPAQUE, Floats, Particles
from cmudrn.weather.scipy_filters import ndimage

ENVIRONMENT, POINT = "env_light_database", "point_light_database"
"""Folders of streaks lit from everywhere and by one source."""
ENVIRONMENT_NAME = re.compile(r"cv(\d+)_osc(\d)\.png")
POINT_NAME = re.compile(r"cv(\d+)_v(-?\d+)_h(\d+)_osc(\d)\.png")
SAMPLES = 10
"""Oscillations of a drop that the database has for each camera and light: numbers in a row."""
EXPOSURE_S = 1 / 60
"""Of the database's streaks; a shorter exposure sees a part of one."""
FINE = 4
"""Samples taken each way in a pixel: streaks are drawn narrower than they are stored."""
KEPT = 4096
"""Decoded streaks kept in memory, 2 to 130 KB each."""

Light = tuple[int, ...]
"""Camera elevation in degrees; with a point source also its elevation and azimuth."""


@dataclass(frozen=True)
class Streak:
    """One stored streak.

    Attributes:
        path: 16-bit grey picture, brightest where its value is 65535; the drop falls downwards.
        brightness: of that value, relative to the median streak under the same kind of light.
    """

    path: Path
    brightness: float


@dataclass(frozen=True)
class StreakDatabase:
    """The streaks of a folder.

    Attributes:
        streaks: streak width in pixels ("size16" is 16) -> light -> oscillations.
        lights: all lights for which there are streaks, sorted.
    """

    streaks: dict[int, dict[Light, tuple[Streak, ...]]]
    lights: tuple[Light, ...]

    def choose(self, width: float, light: Light, rng: np.random.Generator) -> Streak:
        """Return a random streak under a light, at the least size that has the width."""
        sizes = sorted(size for size, lights in self.streaks.items() if light in lights)
        size = next((size for size in sizes if size >= width), sizes[-1])
        streaks = self.streaks[size][light]
        return streaks[int(rng.integers(len(streaks)))]


@dataclass(frozen=True, kw_only=True)
class DatabaseRain(LayeredRain):
    """The paper's three layers with streaks from the database in place of our own.

    Attributes:
        folder: the database: it holds `env_light_database`, `point_light_database` or both.

    References:
        Garg and Nayar, "Photorealistic Rendering of Rain Streaks", SIGGRAPH 2006.
    """

    folder: Path

    def screens(self, name: str) -> Screens:
        """Return the screens of one of `PAPER_LAYERS`.

        Raises:
            CmudrnError: the database cannot be used.
        """
        return _render_screens(self.folder, name, self.seed, self.variety)


@cache
def _render_screens(folder: Path, name: str, seed: int, variety: int) -> Screens:
    database = open_database(folder)

    def composite(
        streaks: Particles, exposure: Exposure, shape: tuple[int, int], rng: np.random.Generator
    ) -> Floats:
        return composite_streaks(streaks, exposure, shape, database, rng)

    return draw_screens(name, seed, variety, composite)


def is_database(folder: Path) -> bool:
    """Return whether a folder holds the database, or a part of it by light."""
    return any((folder / name).is_dir() for name in (ENVIRONMENT, POINT))


@cache
def open_database(folder: Path) -> StreakDatabase:
    """Return the streaks of a folder with their true brightness.

    Raises:
        CmudrnError: a table is missing or damaged, lacks a streak, or there are no streaks.
    """
    found: dict[int, dict[Light, list[tuple[Path, float]]]] = {}
    for part, read in ((ENVIRONMENT, _environment), (POINT, _point)):
        if not (folder / part).is_dir():
            continue
        streaks = read(folder / part)
        typical = float(np.median([factor for *_, factor in streaks])) if streaks else 1.0
        for size, light, path, factor in streaks:
            lights = found.setdefault(size, {}).setdefault(light, [])
            lights.append((path, factor / typical))
    if not found:
        raise CmudrnError(f"There are no streaks in {folder}.")
    streaks_of = {
        size: {light: tuple(Streak(*s) for s in those) for light, those in lights.items()}
        for size, lights in found.items()
    }
    return StreakDatabase(streaks_of, tuple(sorted({k for x in streaks_of.values() for k in x})))


Found = list[tuple[int, Light, Path, float]]
"""(size, light, file, brightness of its greatest value) of each streak."""
Table = dict[tuple[int, ...], list[float]]
"""Numbers in the headings over a row -> the row: the brightness of the ten oscillations."""


def _environment(part: Path) -> Found:
    table = read_table(part / "txt" / "normalized_env_max.txt", ("cv",))
    found: Found = []
    for size in _sizes(part):
        for path in sorted(size.iterdir()):
            if name := ENVIRONMENT_NAME.fullmatch(path.name):
                elevation, sample = map(int, name.groups())
                factor = _look_up(table, (elevation,), sample, path)
                found.append((int(size.name[4:]), (elevation,), path, factor))
    return found


def _point(part: Path) -> Found:
    found: Found = []
    for size in _sizes(part):
        for camera in sorted(size.glob("dcam*")):
            table = read_table(part / "txt" / f"{camera.name}_point_max.txt", ("v", "h"))
            for path in sorted(camera.iterdir()):
                if name := POINT_NAME.fullmatch(path.name):
                    elevation, v, h, sample = map(int, name.groups())
                    factor = _look_up(table, (v, h), sample, path)
                    found.append((int(size.name[4:]), (elevation, v, h), path, factor))
    return found


def _sizes(part: Path) -> list[Path]:
    return sorted(path for path in part.glob("size*") if path.name[4:].isdigit())


def _look_up(table: Table, key: tuple[int, ...], sample: int, path: Path) -> float:
    if key not in table:
        raise CmudrnError(f"The tables of brightness have no row for {path}.")
    return table[key][sample]


def read_table(path: Path, letters: tuple[str, ...]) -> Table:
    """Return a table of brightness.

    Headings such as "cv20", "v-70" or "h10" stand on lines of their own or before the numbers.

    Args:
        path: text file.
        letters: of the headings that lead to a row, outermost first; others are passed over.

    Raises:
        CmudrnError: it cannot be read, or a row has not ten numbers.
    """
    table: Table = {}
    key: tuple[int, ...] = ()
    try:
        for word in path.read_text(encoding="utf-8").split():
            heading = re.fullmatch(r"([a-z]+)(-?\d+)", word)
            if heading is None:
                table.setdefault(key, []).append(float(word))
            elif heading[1] in letters:
                key = (*key[: letters.index(heading[1])], int(heading[2]))
    except (OSError, ValueError) as error:
        raise CmudrnError(f"The table of brightness {path} cannot be read: {error}.") from error
    for key, factors in table.items():
        if len(key) != len(letters) or len(factors) != SAMPLES:
            raise CmudrnError(
                f"{path} has {len(factors)} numbers under {key}; it should have {SAMPLES}."
            )
    return table


def composite_streaks(
    particles: Particles,
    exposure: Exposure,
    shape: tuple[int, int],
    database: StreakDatabase,
    rng: np.random.Generator,
) -> Floats:
    """Return the (H, W) opacity in [0, 1] of streaks that look like the database's and tile.

    All are under one random light. A streak shows as much of a stored one as its exposure lasts.

    Args:
        particles: where the streaks lie and how long, wide, tilted and opaque they are.
        exposure: how they are seen; the defocus blurs all of them.
        shape: (H, W).
        database: where their brightness comes from.
        rng: source of all randomness.
    """
    light = database.lights[int(rng.integers(len(database.lights)))]
    fraction = min(exposure.exposure_s / EXPOSURE_S, 1)
    foreshortened = np.cos(np.radians(light[0]))
    absorbed = np.zeros(shape)
    for i in range(len(particles)):
        streak = database.choose(float(particles.width[i]), light, rng)
        pixels = _part_of(read_streak(streak.path), fraction, rng)
        width = max(particles.width[i], 1)  # a narrower one gets fainter instead
        size = max(particles.length[i] * foreshortened, width), width
        rows, columns, opacity = _draw_streak(
            pixels, size, (particles.y[i], particles.x[i]), particles.angle[i]
        )
        opacity *= particles.opacity[i] * min(particles.width[i], 1) * streak.brightness
        where = np.ix_(rows % shape[0], columns % shape[1])
        # A wrapped streak longer than the screen would meet itself; add.at counts both.
        np.add.at(absorbed, where, -np.log1p(-np.minimum(opacity, OPAQUE)))
    blurred = ndimage().gaussian_filter(absorbed, exposure.blur_px / 2, mode="wrap")
    seen: Floats = -np.expm1(-blurred).astype(np.float32)
    return seen


def _part_of(pixels: Floats, fraction: float, rng: np.random.Generator) -> Floats:
    rows = max(1, round(fraction * len(pixels)))
    top = int(rng.integers(len(pixels) - rows + 1))
    return pixels[top : top + rows]


def _draw_streak(
    pixels: Floats, size: tuple[float, float], middle: tuple[float, float], angle: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return (rows, columns, values there) of pixels drawn length x width, tilted from upright."""
    length, width = size
    cos, sin = np.cos(angle), np.sin(angle)
    reach = np.array([length * cos + width * abs(sin), length * abs(sin) + width * cos]) / 2 + 1
    rows, columns = (
        np.arange(int(np.floor(m - r)), int(np.ceil(m + r)) + 1)
        for m, r in zip(middle, reach, strict=True)
    )
    fine = (np.arange(FINE) + 0.5) / FINE - 0.5
    y, x = (
        (side[:, None] + fine).ravel() - m for side, m in zip((rows, columns), middle, strict=True)
    )
    along = y[:, None] * cos + x * sin
    aside = x * cos - y[:, None] * sin
    places = [
        (offset / side + 0.5) * stored - 0.5
        for offset, side, stored in zip((along, aside), size, pixels.shape, strict=True)
    ]
    values = ndimage().map_coordinates(pixels, places, order=1, mode="constant")
    blocks = values.reshape(len(rows), FINE, len(columns), FINE)
    return rows, columns, blocks.mean((1, 3))


@lru_cache(KEPT)
def read_streak(path: Path) -> Floats:
    """Return a stored streak, (h, w) float32 with maximum 1.

    Raises:
        CmudrnError: it is no 16-bit grey picture.
    """
    pixels = read_picture(path).pixels
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise CmudrnError(f"{path} is not a streak of the database: 16-bit grey is needed.")
    streak: Floats = pixels.astype(np.float32) / np.float32(65535)
    return streak
