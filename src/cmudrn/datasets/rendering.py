"""Folders of clean pictures made into datasets of bad weather, in CSD's layout."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.child_processes import end_with_parent
from cmudrn.errors import (
    CmudrnError,
    FileError,
    ImageFileError,
    InvalidSettingError,
    TargetError,
)
from cmudrn.files import OutwardLinkError, atomic_file, list_folder
from cmudrn.image import Image, Picture, Pixels, from_float, read_image, write_picture
from cmudrn.image.preview import picture_size
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.published import PublishedRain, list_screens
from cmudrn.weather.scipy_filters import ndimage
from cmudrn.weather.streak_database import DatabaseRain, is_database, open_database
from cmudrn.weather.weather import GREATEST, Degraded, Weather

MASKS = {"rain": "Streaks"}
"""Kind of weather -> folder of its opacity or light, where that is not CSD's Mask."""


def kinds() -> dict[str, str]:
    """Return each kind of weather that can be rendered, with its default preset: its first."""
    first: dict[str, str] = {}
    for name, weather in WEATHERS.items():
        first.setdefault(weather.kind, name)
    return first


@dataclass(frozen=True)
class Rendering:
    """What is made of a folder; together with the pictures it decides every byte.

    Attributes:
        source: folder of clean pictures.
        target: folder of the dataset.
        kind: of weather, one of `kinds()`; it names the folder of the degraded images.
        preset: name of the weather; "published" for published screens or streaks.
        seed: of everything drawn.
        severity: 0 to 5; 3 is the preset as it is.
        screens: folder of published rain screens or of the streak database, or None.
        frames: moving frames made of each picture; 1 makes stills.
        follow_links: also take links to files outside the source.
    """

    source: Path
    target: Path
    kind: str
    preset: str
    seed: int = 0
    severity: float = 3.0
    screens: Path | None = None
    frames: int = 1
    follow_links: bool = False

    def weather(self) -> Weather:
        """Return the weather at its severity.

        Raises:
            CmudrnError: there is no such preset, severity or folder of screens.
        """
        if not 0 <= self.severity <= GREATEST:
            raise InvalidSettingError(
                f"A severity is between 0 and 5; it is {self.severity:g}.",
                setting="severity",
                value=self.severity,
            )
        if self.screens is not None:
            return _published(self.screens, self.seed, self.severity)
        known = [name for name, weather in WEATHERS.items() if weather.kind == self.kind]
        if self.preset not in known:
            raise InvalidSettingError(
                f"There is no {self.kind} preset {self.preset!r}; there are {', '.join(known)}.",
                setting="preset",
                value=self.preset,
            )
        weather = WEATHERS[self.preset]
        if isinstance(weather, LayeredRain):
            weather = replace(weather, seed=self.seed)
        return replace(weather, severity=self.severity)

    @property
    def degraded_folder(self) -> str:
        """Name of the folder of degraded images, such as "Rain"."""
        return self.kind.capitalize()

    @property
    def mask_folder(self) -> str:
        """Name of the folder of what was drawn over the clean images."""
        return MASKS.get(self.kind, "Mask")

    @property
    def veil_folder(self) -> str:
        """Name of the folder of the veil's transmission: CSD's where snow has one."""
        return "Transmission" if self.kind == "snow" else f"{self.degraded_folder}Transmission"

    @property
    def marker(self) -> Path:
        """The file that says how the folder was rendered; each kind of weather has its own."""
        return self.target / f"run.{self.kind}.json"

    @property
    def parts(self) -> Path:
        """The folder of the records of finished images."""
        return self.target / f"records.{self.kind}"

    def record(self, pictures: Sequence[Path]) -> dict[str, Any]:
        """Return what must be the same for a run to go on, ready for JSON.

        Args:
            pictures: of the source, in the order in which they are numbered.

        Raises:
            CmudrnError: one cannot be read.
        """
        return {
            "source": str(self.source.resolve()),
            "kind": self.kind,
            "preset": self.preset if self.screens is None else "published",
            "seed": self.seed,
            "severity": self.severity,
            "screens": None if self.screens is None else str(self.screens.resolve()),
            "frames": self.frames,
            "pictures": [
                [path.relative_to(self.source).as_posix(), _hash(path)] for path in pictures
            ],
        }


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, by which one of the same size is known for another.

    Raises:
        CmudrnError: it cannot be read.
    """
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(f"Cannot read {path}: {error.strerror}.", path=path) from error


def _published(folder: Path, seed: int, severity: float) -> Weather:
    ndimage()  # SciPy is not in a base install: refused before anything is written
    if is_database(folder):
        open_database(folder)  # what is wrong with it is said before anything is written
        return DatabaseRain(folder=folder, seed=seed, severity=severity)
    paths = list_screens(folder) if folder.is_dir() else ()
    if not paths:
        raise FileError(
            f"{folder} holds neither rain screens named like 12-6.png nor the streak database's "
            "env_light_database or point_light_database.",
            path=folder,
        )
    return PublishedRain(paths=paths, severity=severity)


def render_folder(
    rendering: Rendering,
    workers: int = 1,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Render every picture and return how many were made now; the rest was there already.

    `OUT/Gt/1.tif`, `OUT/Snow/1.tif` and `OUT/Mask/1.tif` belong together, as in CSD; rain has
    `OUT/Rain` and `OUT/Streaks`, so that one folder can hold both kinds. Veiled snow has
    `OUT/Transmission/1.tif` too, misty rain `OUT/RainTransmission/1.tif`, and
    `OUT/weather.snow.jsonl` has a line for each picture with its source, its airlight and all that
    was drawn. With several frames, each picture becomes a folder, `OUT/Rain/1/0001.tif`. Pictures
    are numbered in the order of their paths;
    hidden ones are left out, and one that is none is found before the target is touched.
    A picture with a missing file is rendered again. The bytes depend neither on the number of
    workers nor on interruptions.

    Args:
        rendering: what to make.
        workers: processes.
        report: called with (done, total) as pictures are finished.

    Raises:
        CmudrnError: nothing to render, a picture that cannot be read, a target that holds
            something else or was begun with other pictures, or one inside the source.
    """
    rendering.weather()
    sources = _list_pictures(rendering)
    _claim(rendering, sources)
    rendering.parts.mkdir(exist_ok=True)
    waiting = [n for n in range(1, len(sources) + 1) if not _is_done(rendering, n)]
    before = len(sources) - len(waiting)
    tasks = [(rendering, number, sources[number - 1]) for number in waiting]
    for done, _ in enumerate(_map(tasks, workers), start=1):
        report(before + done, len(sources))
    with atomic_file(rendering.target / f"weather.{rendering.kind}.jsonl") as stream:
        for number in range(1, len(sources) + 1):
            stream.write((rendering.parts / f"{number}.json").read_bytes() + b"\n")
    return len(waiting)


def _is_done(rendering: Rendering, number: int) -> bool:
    """Return whether a picture has its record and every file that belongs to it.

    Raises:
        CmudrnError: its record cannot be read.
    """
    path = rendering.parts / f"{number}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise FileError(f"The record {path} cannot be read: {error}.", path=path) from error
    folders = ["Gt", rendering.degraded_folder, rendering.mask_folder]
    if "airlight" in record:  # only weather with a veil has one
        folders.append(rendering.veil_folder)
    names = [_name(rendering, number, frame) for frame in range(rendering.frames)]
    return all((rendering.target / folder / name).is_file() for folder in folders for name in names)


def _name(rendering: Rendering, number: int, frame: int) -> str:
    """Return where a frame of a picture lies in each of the dataset's folders."""
    return f"{number}.tif" if rendering.frames == 1 else f"{number}/{frame + 1:04d}.tif"


def _map(tasks: list[tuple[Rendering, int, Path]], workers: int) -> Iterator[None]:
    if workers == 1:
        yield from map(_render, tasks)
        return
    # Not forked: libvips' threads do not survive a fork, and the child would wait for them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=end_with_parent) as pool:
        yield from pool.map(_render, tasks)


def _list_pictures(rendering: Rendering) -> list[Path]:
    """Return the pictures below a folder, in the order of their paths.

    Raises:
        CmudrnError: there are none, or some have no head of a picture; all of these are named.
    """
    folder = rendering.source
    if not folder.is_dir():
        raise FileError(f"There is no folder {folder}.", path=folder)
    # Not in natural order: pictures have always been numbered by their plain paths.
    listing = list_folder(folder, follow_links=rendering.follow_links)
    found = sorted(listing.images)
    links = [error for error in listing.passed_over if isinstance(error, OutwardLinkError)]
    if not found and not links:
        raise FileError(f"There are no images in {folder}.", path=folder)
    bad = [str(error).removesuffix(".") for error in links]
    for path in found:
        try:
            picture_size(path)
        except CmudrnError as error:
            bad.append(str(error).removesuffix("."))
    if bad:
        raise ImageFileError(f"Nothing was rendered: {'; '.join(bad)}.", path=folder)
    return found


def _claim(rendering: Rendering, sources: Sequence[Path]) -> None:
    """Make the target folder, or check that it holds the same run, or other weather only."""
    target, source = rendering.target, rendering.source
    if target.resolve().is_relative_to(source.resolve()):
        raise _refused(
            target, f"{target} lies in {source}, whose images it is made of; choose another folder."
        )
    record = rendering.record(sources)
    try:
        known = read_runs(target)
        for kind, other in known.items():
            _compare(rendering, record, kind, other)
        if rendering.kind in known:
            return
        if target.exists() and any(target.iterdir()) and not known:
            raise _refused(target, f"{target} is not empty; choose another folder.")
        target.mkdir(parents=True, exist_ok=True)
        with atomic_file(rendering.marker) as stream:
            stream.write((json.dumps(record, indent=2) + "\n").encode())
    except (OSError, ValueError) as error:
        raise _refused(target, f"The folder {target} cannot be used: {error}.") from error


def read_runs(target: Path) -> dict[str, dict[str, Any]]:
    """Return what a folder says about the weathers that this program rendered into it, by kind.

    Raises:
        ValueError: a file of a run is damaged.
        OSError: it cannot be read.
    """
    runs: dict[str, dict[str, Any]] = {}
    for marker in sorted(target.glob("run.*.json")):
        known = json.loads(marker.read_text(encoding="utf-8"))
        if not isinstance(known, dict) or "pictures" not in known:
            raise ValueError(f"{marker} is damaged")
        runs[marker.name.split(".")[1]] = known
    return runs


def _compare(
    rendering: Rendering, record: dict[str, Any], kind: str, other: dict[str, Any]
) -> None:
    """Refuse a run of the same kind with other settings, and any run of other images.

    Raises:
        TargetError: it is such a run.
    """
    target = rendering.target
    if kind == rendering.kind and other | {"pictures": record["pictures"]} != record:
        raise _refused(
            target, f"{target} holds {kind} made with other settings; choose another folder."
        )
    # Images go by their numbers: one more or less would shift all that are not done yet. Weather
    # of another kind shares the clean images.
    shared = ("pictures", "source", "frames")
    if any(other.get(key) != record[key] for key in shared):
        raise _refused(
            target,
            f"{target} was not begun with the images that {rendering.source} holds now; "
            "choose another folder.",
        )


def _refused(target: Path, sentence: str) -> TargetError:
    return TargetError(sentence, path=target)


def _render(task: tuple[Rendering, int, Path]) -> None:
    """Render one picture; its record is written last and says that it is done."""
    rendering, number, source = task
    clean = np.round(read_image(source) * 255) / np.float32(255)  # what Gt will hold
    rng = np.random.default_rng([rendering.seed, number])
    scene = rendering.weather().scene((clean.shape[0], clean.shape[1]), rng)
    for frame in range(rendering.frames):
        made = scene(clean, frame)
        _write(rendering, _name(rendering, number, frame), source, clean, made)
    record = {
        "number": number,
        "source": os.fspath(source.relative_to(rendering.source)),
        "size": [clean.shape[1], clean.shape[0]],
        **made.parameters,
    }
    with atomic_file(rendering.parts / f"{number}.json") as stream:
        stream.write(json.dumps(record).encode())


def _mask(layers: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return where the weather is: snow's opacity, rain's light, or haze's opacity."""
    for name in ("mask", "streaks"):
        if name in layers:
            return layers[name]
    return 1 - layers["transmission"]


def _write(rendering: Rendering, name: str, source: Path, clean: Image, made: Degraded) -> None:
    layers = made.layers
    pictures: dict[str, Pixels] = {
        "Gt": from_float(clean, np.uint8),
        rendering.degraded_folder: from_float(made.degraded, np.uint8),
        rendering.mask_folder: from_float(_mask(layers), np.uint8),
    }
    if "transmission" in layers:
        pictures[rendering.veil_folder] = from_float(layers["transmission"], np.uint16)
    for folder, pixels in pictures.items():
        path = rendering.target / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(Picture(pixels, format="tiff"), path, like=[source])
