"""Whole scenes in weather, as a veil estimator sees them, and patches of them without the veil.

Rendering a whole scene for every patch would cost a hundred times the patch. A scene is therefore
drawn small, at the size of a thumbnail, and the patch's own streaks and flakes are drawn anew at
full size; the two share the scene and its veil, which is all that the estimator depends on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError
from cmudrn.image import Image, from_float, to_float
from cmudrn.image.resampling import SIDE, Area, enlarge, make_thumbnail
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator
from cmudrn.training.data.clean_patches import CleanPictures, crop_window, turn
from cmudrn.training.data.views import View, middle
from cmudrn.weather.haze import Haze, Veil
from cmudrn.weather.patches import PatchWeather
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.snow import Snow

REDUCTION = 4
"""Of the scene on which a thumbnail's weather is drawn."""
VARIETY = 1000
"""Scenes of each source; each is made when it is first drawn, and kept."""
HAZE_ROWS = 32
"""Of the coarse grid on which the veil of a scene is drawn."""
WHOLE = 0.4
"""Share of the scenes that are whole pictures; the others are windows of at least half a side."""
MIST = Veil((0.4, 0.95), (0.6, 1.0))
"""The mist of scenes in which no snow falls."""


@dataclass(frozen=True)
class Scene:
    """One scene of a source.

    Attributes:
        picture: its number among the clean pictures.
        window: its rows and columns there.
        thumbnail: (SIDE, SIDE, 3) uint8, in weather but without a veil.
    """

    picture: int
    window: Area
    thumbnail: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scene at full size."""
        rows, columns = self.window
        return rows.stop - rows.start, columns.stop - columns.start


class SceneWeather:
    """A weather family parted into what falls and the veil over it.

    Args:
        family: name of a weather, or "clear".
        seed: of the cached rain screens.

    Raises:
        CmudrnError: there is no weather of that name.
    """

    def __init__(self, family: str, seed: int) -> None:
        weathers = PatchWeather(seed).weathers
        if family != "clear" and family not in weathers:
            raise CmudrnError(f"There is no weather {family!r}; there are {', '.join(weathers)}.")
        self.falling = weathers.get(family)
        self.veil, self.veiled = Veil(), 0.0
        if isinstance(self.falling, Snow):
            self.veil, self.veiled = replace(self.falling.veil, rows=0), self.falling.veiled
            self.falling = replace(self.falling, veiled=0.0)

    def fall(self, clean: Image, rng: np.random.Generator) -> Image:
        """Return a clean patch in what falls, without the veil."""
        return clean if self.falling is None else self.falling(clean, rng).degraded

    def fall_small(
        self, small: Image, shape: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return the thumbnail of a scene in what falls.

        Args:
            small: the clean scene, reduced by `REDUCTION`.
            shape: of the scene at full size.
            rng: source of all randomness.
        """
        if self.falling is not None:
            small = self.falling.scene(shape, rng).reduced(REDUCTION)(small).degraded
        return from_float(make_thumbnail(small), np.uint8)

    def draw_haze(self, shape: tuple[int, int], rng: np.random.Generator) -> Haze | None:
        """Return the veil over a scene, or None; its transmission is on a coarse grid."""
        if rng.random() >= self.veiled:
            return None
        return self.veil.haze((HAZE_ROWS, max(1, round(HAZE_ROWS * shape[1] / shape[0]))), rng)


def composite_haze(picture: Image, haze: Haze | None, area: Area, shape: tuple[int, int]) -> Image:
    """Return a window of a scene under its veil."""
    if haze is None:
        return picture
    return Haze(enlarge(haze.transmission, area, shape), haze.airlight).composite(picture)


def composite_on_thumbnail(thumbnail: Image, haze: Haze | None) -> Image:
    """Return a scene's thumbnail under its veil."""
    whole = slice(0, SIDE)
    return composite_haze(thumbnail, haze, (whole, whole), (SIDE, SIDE))


class Scenes:
    """The scenes of one source, each made from (seed, family, number) alone.

    Args:
        clean: the pictures.
        family: name of a weather, or "clear".
        seed: of the scenes.
    """

    def __init__(self, clean: CleanPictures, family: str, seed: int) -> None:
        self.clean, self.weather = clean, SceneWeather(family, seed)
        self.seed = [seed, zlib.crc32(family.encode())]

    def make(self, number: int, least: int) -> tuple[Scene, Haze | None]:
        """Return a scene and a veil over it.

        Args:
            number: of the scene.
            least: side of the smallest scene wanted, pixels.
        """
        rng = np.random.default_rng([*self.seed, number + 1])
        index = int(rng.integers(len(self.clean.pictures)))
        picture = self.clean.pictures[index]
        window = _draw_window((picture.shape[0], picture.shape[1]), least, rng)
        shape = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        thumbnail = self.weather.fall_small(reduce_scene(picture[window]), shape, rng)
        return Scene(index, window, thumbnail), self.weather.draw_haze(shape, rng)


class ScenePatches:
    """Degraded and clean patches of scenes, corrected with the estimated veil.

    Args:
        scenes: the source's scenes.
        estimator: estimates the veil; it is not trained further.
    """

    def __init__(self, scenes: Scenes, estimator: VeilEstimator) -> None:
        self.scenes, self.estimator = scenes, estimator
        self.estimated: dict[int, tuple[NDArray[np.uint8], Haze | None, VeilCorrection]] = {}

    def __call__(self, size: int, rng: np.random.Generator) -> tuple[Image, Image]:
        """Return (degraded, clean)."""
        picture, haze, correction = self._estimate(int(rng.integers(VARIETY)), size)
        shape = (picture.shape[0], picture.shape[1])
        area = crop_window(shape, size, rng)
        # Only the picture is turned: to a patch it is all one where the veil gets thicker.
        patch = turn(to_float(picture[area]), int(rng.integers(8)))
        clean = np.ascontiguousarray(self.scenes.clean.vary(patch, rng))
        degraded = composite_haze(self.scenes.weather.fall(clean, rng), haze, area, shape)
        return correction(degraded, area, shape), clean

    def _estimate(
        self, number: int, size: int
    ) -> tuple[NDArray[np.uint8], Haze | None, VeilCorrection]:
        if number not in self.estimated:
            scene, haze = self.scenes.make(number, size)
            picture = self.scenes.clean.pictures[scene.picture][scene.window]
            correction = self.estimator.estimate_veil(
                composite_on_thumbnail(to_float(scene.thumbnail), haze)
            )
            self.estimated[number] = picture, haze, correction
        return self.estimated[number]


class Thumbnails:
    """Thumbnails of scenes with and without their veil: what a veil estimator is trained on.

    Args:
        scenes: the source's scenes; they are kept, 192 kB each.
        mist: share of the scenes of a weather without a veil that lie in a mist of their own. It is
            on both thumbnails: mist without snowfall is not to be taken away.
    """

    def __init__(self, scenes: Scenes, mist: float = 0.0) -> None:
        self.scenes = scenes
        self.mist = 0.0 if isinstance(scenes.weather.falling, Snow) else mist
        self.made: dict[int, Scene] = {}

    def __call__(self, _size: int, rng: np.random.Generator) -> tuple[Image, Image]:
        """Return (veiled, plain), each (SIDE, SIDE, 3), mirrored and in another light."""
        number = int(rng.integers(VARIETY))
        if number not in self.made:
            self.made[number] = self.scenes.make(number, SIDE)[0]
        scene = self.made[number]
        plain = to_float(scene.thumbnail)
        if rng.random() < 0.5:
            plain = plain[:, ::-1]
        plain = np.ascontiguousarray(change_light(plain, rng))
        if self.mist and rng.random() < self.mist:
            plain = composite_on_thumbnail(plain, MIST.haze((HAZE_ROWS, HAZE_ROWS), rng))
        return composite_on_thumbnail(plain, self.scenes.weather.draw_haze(scene.shape, rng)), plain


def view_without_veil(estimator: VeilEstimator, seed: int) -> View:
    """Return the view of a picture's middle after the correction of the estimated veil."""
    weathers = {family: SceneWeather(family, seed) for family in ("clear", *WEATHERS)}

    def view(picture: Image, family: str, rng: np.random.Generator) -> tuple[Image, Image]:
        weather, shape, area = weathers[family], picture.shape[:2], middle(picture.shape)
        haze = weather.draw_haze(shape, rng)
        small = reduce_scene(from_float(picture, np.uint8))
        thumbnail = to_float(weather.fall_small(small, shape, rng))
        clean = np.ascontiguousarray(picture[area])
        degraded = composite_haze(weather.fall(clean, rng), haze, area, shape)
        correction = estimator.estimate_veil(composite_on_thumbnail(thumbnail, haze))
        return correction(degraded, area, shape), clean

    return view


def view_thumbnails(seed: int) -> View:
    """Return the view of a veil estimator: a picture's thumbnail, and that without its veil."""
    weathers = {family: SceneWeather(family, seed) for family in ("clear", *WEATHERS)}

    def view(picture: Image, family: str, rng: np.random.Generator) -> tuple[Image, Image]:
        weather = weathers[family]
        haze = weather.draw_haze(picture.shape[:2], rng)
        plain = make_thumbnail(weather.fall(picture, rng))  # at full size: no scene drawn small
        return composite_on_thumbnail(plain, haze), plain

    return view


def change_light(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture with other contrast, brightness and tint: there are not many scenes."""
    gamma = np.float32(np.exp(rng.normal(0, 0.2)))
    gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)).astype(np.float32)
    return np.clip(np.power(picture, gamma) * gain, 0, 1)


def reduce_scene(picture: NDArray[np.uint8]) -> Image:
    """Return (H, W, 3) as float32 in [0, 1], each REDUCTION x REDUCTION block a pixel."""
    height, width = (side // REDUCTION * REDUCTION for side in picture.shape[:2])
    total = np.zeros((height // REDUCTION, width // REDUCTION, 3), np.uint16)
    for top in range(REDUCTION):  # far faster than a mean over two axes
        for left in range(REDUCTION):
            total += picture[top:height:REDUCTION, left:width:REDUCTION]
    return total.astype(np.float32) / np.float32(255 * REDUCTION**2)


def _draw_window(shape: tuple[int, int], least: int, rng: np.random.Generator) -> Area:
    whole = rng.random() < WHOLE
    spans = []
    for side in shape:
        length = side if whole else max(min(least, side), int(side * rng.uniform(0.5, 1)))
        first = int(rng.integers(side - length + 1))
        spans.append(slice(first, first + length))
    return spans[0], spans[1]
