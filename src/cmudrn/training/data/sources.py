"""Where training patches come from: weather laid over clean pictures, or a dataset of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.datasets import Dataset, open_dataset
from cmudrn.errors import CmudrnError
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator
from cmudrn.training.config import DataConfig
from cmudrn.training.data.batches import PatchSource
from cmudrn.training.data.clean_patches import CleanPictures, Patch, crop_window, turn
from cmudrn.training.data.scenes import ScenePatches, Scenes, Thumbnails
from cmudrn.training.data.wide_patches import WidePatches, WideScenes
from cmudrn.weather.patches import PatchWeather


class WeatherPatches:
    """Clean patches with a weather family laid over them; "clear" leaves them clean."""

    def __init__(self, clean: CleanPictures, weather: PatchWeather, family: str) -> None:
        self.clean, self.weather, self.family = clean, weather, family

    def __call__(self, size: int, rng: np.random.Generator) -> tuple[Patch, Patch]:
        """Return (degraded, clean)."""
        clean = np.ascontiguousarray(self.clean.draw(size, rng))
        if self.family == "clear":
            return clean, clean
        return self.weather.degrade(clean, rng, self.family), clean


class PairPatches:
    """Aligned patches of a dataset's pairs; decoded pairs are kept in memory as 8 bit.

    Args:
        dataset: the pairs.
        estimator: takes the veil off the degraded pictures; None leaves them.
    """

    def __init__(self, dataset: Dataset, estimator: VeilEstimator | None = None) -> None:
        self.dataset, self.estimator = dataset, estimator
        self.decoded: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self.corrections: dict[int, VeilCorrection] = {}

    def _pair(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if index not in self.decoded:
            pair = self.dataset[index]
            self.decoded[index] = (
                np.rint(pair.degraded * 255).astype(np.uint8),
                np.rint(pair.clean * 255).astype(np.uint8),
            )
        return self.decoded[index]

    def __call__(self, size: int, rng: np.random.Generator) -> tuple[Patch, Patch]:
        """Return (degraded, clean)."""
        index = int(rng.integers(len(self.dataset)))
        pair = self._pair(index)
        window = crop_window(pair[1].shape, size, rng)
        symmetry = int(rng.integers(8))
        degraded, clean = (p[window].astype(np.float32) / np.float32(255) for p in pair)
        if self.estimator is not None:
            if index not in self.corrections:
                self.corrections[index] = self.estimator(pair[0])
            degraded = self.corrections[index](degraded, window, pair[1].shape[:2])
        first, second = (np.ascontiguousarray(turn(p, symmetry)) for p in (degraded, clean))
        return first, second


def make_sources(config: DataConfig, seed: int) -> dict[str, PatchSource]:
    """Return the sources of a run's mixture, by their names in the preset.

    Raises:
        CmudrnError: a folder, dataset or veil estimator is missing or wrong.
    """
    if not config.sources:
        raise CmudrnError("The preset names no training data: data.sources is empty.")
    estimator = open_veil_estimator(Path(config.veil_estimator)) if config.veil_estimator else None
    sources: dict[str, PatchSource] = {}
    clean: CleanPictures | None = None
    wide: WideScenes | None = None
    for name, source in config.sources.items():
        if source.dataset is not None:
            sources[name] = PairPatches(open_dataset(source.dataset), estimator)
            continue
        if config.clean is None:
            raise CmudrnError(f"The source {name!r} needs a folder of clean pictures: data.clean.")
        if config.also_clean and config.view == "patches":
            wide = wide or WideScenes(config, seed)
            sources[name] = WidePatches(wide, str(source.weather))
            continue
        clean = clean or CleanPictures.of(config, config.clean, *config.also_clean)
        sources[name] = _make_source(clean, str(source.weather), config, estimator, seed)
    return sources


def _make_source(
    clean: CleanPictures,
    family: str,
    config: DataConfig,
    estimator: VeilEstimator | None,
    seed: int,
) -> PatchSource:
    """Return the source of a weather over clean pictures."""
    if config.view == "thumbnails":
        return Thumbnails(Scenes(clean, family, seed), config.mist)
    if estimator is not None:
        return ScenePatches(Scenes(clean, family, seed), estimator)
    return WeatherPatches(clean, PatchWeather(seed), family)
