"""Folders of clean pictures made into datasets of bad weather, in CSD's layout."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.datasets.files import list_pictures, picture_size
from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file
from cmudrn.image import Image, Picture, Pixels, from_float, read_image, write_picture
from cmudrn.weather.layered_rain import LayeredRain
from cmudrn.weather.presets import WEATHERS
from cmudrn.weather.published import PublishedRain, list_screens
from cmudrn.weather.streak_database import DatabaseRain, is_database, open_database
from cmudrn.weather.weather import GREATEST, Degraded, Weather

FOLDERS = {"rain": "Rain", "snow": "Snow"}
"""Where degraded pictures lie; clean ones are in Gt, streaks or snow masks in Mask."""
RECORDS = "weather.jsonl"
RUN = "run.json"
PARTS = "records"
"""Records of pictures that are done while others are not."""


@dataclass(frozen=True)
class Rendering:
    """What is made of a folder; together with the pictures it decides every byte.

    Attributes:
        source: folder of clean pictures.
        target: folder of the dataset.
        kind: "rain" or "snow".
        preset: name of the weather; "published" for published screens or streaks.
        seed: of everything drawn.
        severity: 0 to 5; 3 is the preset as it is.
        screens: folder of published rain screens or of the streak database, or None.
        frames: moving frames made of each picture; 1 makes stills.
    """

    source: Path
    target: Path
    kind: str
    preset: str
    seed: int = 0
    severity: float = 3.0
    screens: Path | None = None
    frames: int = 1

    def weather(self) -> Weather:
        """Return the weather at its severity.

        Raises:
            CmudrnError: there is no such preset, severity or folder of screens.
        """
        if not 0 <= self.severity <= GREATEST:
            raise CmudrnError(f"A severity is between 0 and 5; it is {self.severity:g}.")
        if self.screens is not None:
            return _published(self.screens, self.seed, self.severity)
        known = [name for name in WEATHERS if self.kind in name]
        if self.preset not in known:
            raise CmudrnError(
                f"There is no {self.kind} preset {self.preset!r}; there are {', '.join(known)}."
            )
        weather = WEATHERS[self.preset]
        if isinstance(weather, LayeredRain):
            weather = replace(weather, seed=self.seed)
        return replace(weather, severity=self.severity)

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
        raise CmudrnError(f"Cannot read {path}: {error.strerror}.") from error


def _published(folder: Path, seed: int, severity: float) -> Weather:
    if is_database(folder):
        open_database(folder)  # what is wrong with it is said before anything is written
        return DatabaseRain(folder=folder, seed=seed, severity=severity)
    paths = list_screens(folder) if folder.is_dir() else ()
    if not paths:
        raise CmudrnError(
            f"{folder} holds neither rain screens named like 12-6.png nor the streak database's "
            "env_light_database or point_light_database."
        )
    return PublishedRain(paths=paths, severity=severity)


def render_folder(
    rendering: Rendering,
    workers: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Render every picture and return how many were made now; the rest was there already.

    `OUT/Gt/1.tif`, `OUT/Rain/1.tif` (or `Snow`) and `OUT/Mask/1.tif` belong together, as in CSD;
    veiled snow has `OUT/Transmission/1.tif` too, and `OUT/weather.jsonl` a line for each picture
    with its source, its airlight and all that was drawn. With several frames, each picture
    becomes a folder, `OUT/Rain/1/0001.tif`. Pictures are numbered in the order of their paths;
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
    sources = _list_pictures(rendering.source)
    _claim(rendering, sources)
    parts = rendering.target / PARTS
    parts.mkdir(exist_ok=True)
    waiting = [n for n in range(1, len(sources) + 1) if not _is_done(rendering, n)]
    before = len(sources) - len(waiting)
    tasks = [(rendering, number, sources[number - 1]) for number in waiting]
    for done, _ in enumerate(_map(tasks, workers), start=1):
        report(before + done, len(sources))
    with atomic_file(rendering.target / RECORDS) as stream:
        for number in range(1, len(sources) + 1):
            stream.write((parts / f"{number}.json").read_bytes() + b"\n")
    return len(waiting)


def _is_done(rendering: Rendering, number: int) -> bool:
    """Return whether a picture has its record and every file that belongs to it.

    Raises:
        CmudrnError: its record cannot be read.
    """
    path = rendering.target / PARTS / f"{number}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise CmudrnError(f"The record {path} cannot be read: {error}.") from error
    folders = ["Gt", FOLDERS[rendering.kind], "Mask"]
    if "airlight" in record:  # only snow with a veil has one
        folders.append("Transmission")
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
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_render, tasks)


def _list_pictures(folder: Path) -> list[Path]:
    """Return the pictures below a folder, in the order of their paths.

    Raises:
        CmudrnError: there are none, or some have no head of a picture; all of these are named.
    """
    if not folder.is_dir():
        raise CmudrnError(f"There is no folder {folder}.")
    # Not in natural order: pictures have always been numbered by their plain paths.
    found = sorted(list_pictures(folder))
    if not found:
        raise CmudrnError(f"There are no pictures in {folder}.")
    bad = []
    for path in found:
        try:
            picture_size(path)
        except CmudrnError as error:
            bad.append(str(error).removesuffix("."))
    if bad:
        raise CmudrnError(f"Nothing was rendered: {'; '.join(bad)}.")
    return found


def _claim(rendering: Rendering, sources: Sequence[Path]) -> None:
    """Make the target folder, or check that it holds the same run."""
    target, source = rendering.target, rendering.source
    if target.resolve().is_relative_to(source.resolve()):
        raise CmudrnError(
            f"{target} lies in {source}, whose pictures it is made of; choose another folder."
        )
    record, marker = rendering.record(sources), target / RUN
    try:
        if marker.exists():
            known = json.loads(marker.read_text(encoding="utf-8"))
            pictures = {"pictures": record["pictures"]}
            if not isinstance(known, dict) or known | pictures != record:
                raise CmudrnError(
                    f"{target} holds weather made with other settings; choose another folder."
                )
            # Pictures go by their numbers: one more or less would shift all that are not done yet.
            if known != record:
                raise CmudrnError(
                    f"{target} was not begun with the pictures that {source} holds now; "
                    "choose another folder."
                )
            return
        if target.exists() and any(target.iterdir()):
            raise CmudrnError(f"{target} is not empty; choose another folder.")
        target.mkdir(parents=True, exist_ok=True)
        with atomic_file(marker) as stream:
            stream.write((json.dumps(record, indent=2) + "\n").encode())
    except (OSError, ValueError) as error:
        raise CmudrnError(f"The folder {target} cannot be used: {error}.") from error


def _render(task: tuple[Rendering, int, Path]) -> None:
    """Render one picture; its record is written last and says that it is done."""
    rendering, number, source = task
    clean = np.round(read_image(source) * 255) / np.float32(255)  # what Gt will hold
    rng = np.random.default_rng([rendering.seed, number])
    scene = rendering.weather().scene((clean.shape[0], clean.shape[1]), rng)
    for frame in range(rendering.frames):
        made = scene(clean, frame)
        _write(rendering, _name(rendering, number, frame), clean, made)
    record = {
        "number": number,
        "source": os.fspath(source.relative_to(rendering.source)),
        "size": [clean.shape[1], clean.shape[0]],
        **made.parameters,
    }
    with atomic_file(rendering.target / PARTS / f"{number}.json") as stream:
        stream.write(json.dumps(record).encode())


def _write(rendering: Rendering, name: str, clean: Image, made: Degraded) -> None:
    layers = made.layers
    pictures: dict[str, Pixels] = {
        "Gt": from_float(clean, np.uint8),
        FOLDERS[rendering.kind]: from_float(made.degraded, np.uint8),
        "Mask": from_float(layers["streaks" if rendering.kind == "rain" else "mask"], np.uint8),
    }
    if "transmission" in layers:
        pictures["Transmission"] = from_float(layers["transmission"], np.uint16)
    for folder, pixels in pictures.items():
        path = rendering.target / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(Picture(pixels, format="tiff"), path)
