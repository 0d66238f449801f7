"""What every dataset gives: named pairs of a degraded and a clean picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.image import Image, read_image
from cmudrn.weather import WEATHERS


@dataclass(frozen=True)
class Pair:
    """One picture with and without weather.

    Attributes:
        name: of the pair within its dataset.
        degraded: (H, W, 3) float32 RGB in [0, 1].
        clean: the same scene without weather, of the same shape.
    """

    name: str
    degraded: Image
    clean: Image


class Dataset(Protocol):
    """Pairs by number, read when asked for."""

    @property
    def names(self) -> list[str]:
        """The pairs' names, in order."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...


@dataclass(frozen=True)
class PairFiles:
    """Where one pair lies.

    Attributes:
        name: of the pair within its dataset.
        degraded: picture file; the clean one again where there is no degraded picture.
        clean: picture file.
    """

    name: str
    degraded: Path
    clean: Path


class FileDataset:
    """Pairs of picture files.

    Args:
        files: in the order in which they are counted.
    """

    def __init__(self, files: Iterable[PairFiles]) -> None:
        self.files: Sequence[PairFiles] = tuple(files)

    @property
    def names(self) -> list[str]:
        """The pairs' names, in order."""
        return [pair.name for pair in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        """Return a pair.

        Raises:
            CmudrnError: a file cannot be read, or the two differ in size.
        """
        files = self.files[index]
        clean = read_image(files.clean)
        if files.degraded == files.clean:
            return Pair(files.name, clean, clean)
        degraded = read_image(files.degraded)
        if degraded.shape != clean.shape:
            sizes = " and ".join(f"{p.shape[1]} x {p.shape[0]}" for p in (degraded, clean))
            raise CmudrnError(
                f"{files.degraded} and {files.clean} make no pair: they have {sizes} pixels."
            )
        return Pair(files.name, degraded, clean)


class RenderedDataset:
    """Clean pictures with weather laid over them when they are read.

    The weather of a picture depends on the seed and on its place in the list, nothing else. The
    degraded picture is rounded to 8 bit, as it would be in a file.

    Args:
        clean: picture files.
        weather: one of `WEATHERS`; "clear" leaves the pictures as they are.
        seed: of the weather.

    Raises:
        CmudrnError: there is no such weather.
    """

    def __init__(self, clean: Sequence[PairFiles], weather: str, seed: int) -> None:
        if weather != "clear" and weather not in WEATHERS:
            known = ", ".join(("clear", *WEATHERS))
            raise InvalidSettingError(f"There is no weather {weather!r}; there are {known}.")
        self.clean = clean
        self.weather = weather
        self.seed = seed

    @property
    def names(self) -> list[str]:
        """The pairs' names, in order."""
        return [pair.name for pair in self.clean]

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: int) -> Pair:
        """Return a pair.

        Raises:
            CmudrnError: the clean file cannot be read.
        """
        files = self.clean[index]
        clean = read_image(files.clean)
        if self.weather == "clear":
            return Pair(files.name, clean, clean)
        rng = np.random.default_rng([self.seed, index])
        degraded = WEATHERS[self.weather](clean, rng).degraded
        return Pair(files.name, (np.rint(degraded * 255) / 255).astype(np.float32), clean)
