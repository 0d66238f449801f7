"""What is wrong with datasets: files, pairs, sizes, and pictures that stand in two of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.datasets.dataset import PairFiles
from cmudrn.datasets.folders import data_path
from cmudrn.datasets.layouts import LAYOUTS
from cmudrn.datasets.near_duplicates import find_matches, hash_pictures
from cmudrn.datasets.problems import Problems
from cmudrn.datasets.rendering import read_runs
from cmudrn.datasets.specification import find_files, parse_description
from cmudrn.errors import CmudrnError, FileError
from cmudrn.image import read_image
from cmudrn.image.preview import picture_size

OnFile = Callable[[int, int], None]
"""Called with the number of pairs done and of all pairs."""


@dataclass(frozen=True)
class Same:
    """Two pictures that show the same.

    Attributes:
        first: file of the first set.
        second: file of the second set.
        how: how the second must be turned or mirrored to be the first.
        error: root mean square difference of the two as they are compared, of a range of 1.
    """

    first: str
    second: str
    how: str
    error: float


@dataclass(frozen=True)
class Health:
    """What was found in one dataset.

    Attributes:
        dataset: its description.
        pairs: how many there are.
        clean_only: whether it is one of clean pictures, without degraded ones.
        sizes: "width x height" -> pictures of that size, the most frequent first.
        formats: file suffix -> files.
        input_psnr_db: mean PSNR of the degraded pictures, RGB; None where there are none.
        fingerprint: hexadecimal hash of every pair's name and of every file's bytes.
        licence: as far as known.
        rendered: how this program rendered it; None where others made it.
        problems: what is wrong, one phrase each.
        repeated: clean pictures that are there more than once.
    """

    dataset: str
    pairs: int
    clean_only: bool
    sizes: dict[str, int]
    formats: dict[str, int]
    input_psnr_db: float | None
    fingerprint: str
    licence: str
    rendered: str | None
    problems: list[str]
    repeated: list[Same]


@dataclass(frozen=True)
class Leak:
    """Clean pictures that stand in two datasets.

    Attributes:
        first: description of one dataset.
        second: description of the other.
        pictures: what they share.
    """

    first: str
    second: str
    pictures: list[Same]


@dataclass(frozen=True)
class Report:
    """What the doctor says.

    Attributes:
        datasets: one record each, in the order they were named.
        leaks: between any two of them.
    """

    datasets: list[Health]
    leaks: list[Leak] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether no file is wrong and no picture leaks. Repeated scenes are no fault."""
        return not self.leaks and not any(health.problems for health in self.datasets)

    def as_table(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {"sound": self.sound, **asdict(self)}


def fingerprint(files: Sequence[PairFiles]) -> str:
    """Return a hexadecimal hash of the pairs' names and of their files' bytes, in order.

    Raises:
        CmudrnError: a file cannot be read.
    """
    total = hashlib.sha256()
    for pair in files:
        total.update(f"{pair.name}\n".encode(errors="surrogateescape"))
        for path in (pair.degraded, pair.clean):
            total.update(_file_hash(path))
    return total.hexdigest()


def examine(texts: Sequence[str], on_file: OnFile | None = None) -> Report:
    """Return what is wrong with datasets; every file is decoded.

    Args:
        texts: descriptions, as `open_dataset` takes them.
        on_file: told of progress through each dataset.

    Raises:
        CmudrnError: there is no such dataset at all.
    """
    patients = [_Patient(text, on_file) for text in texts]
    leaks = []
    for number, first in enumerate(patients):
        for second in patients[number + 1 :]:
            shared = _shared(first, second)
            if shared:
                leaks.append(Leak(first.text, second.text, shared))
    return Report([patient.health() for patient in patients], leaks)


class _Patient:
    """One dataset under examination: its readable clean pictures and their hashes."""

    def __init__(self, text: str, on_file: OnFile | None) -> None:
        self.text = text
        self.problems = Problems()
        self.files = find_files(parse_description(text), self.problems)
        self.sizes: Counter[str] = Counter()
        self.psnrs: list[float] = []
        for done, pair in enumerate(self.files, 1):
            self._examine(pair)
            if on_file:
                on_file(done, len(self.files))
        wrong = {path for paths in self.problems.found.values() for path in paths}
        self.clean = [pair.clean for pair in self.files if pair.clean not in wrong]
        self.hashes: NDArray[np.uint64] = hash_pictures(self.clean)

    def _examine(self, pair: PairFiles) -> None:
        images = []
        for path in dict.fromkeys((pair.degraded, pair.clean)):
            try:
                images.append(read_image(path))
                width, height = picture_size(path)  # as a dataset is opened: by another reader
            except CmudrnError:
                self.problems.note("that cannot be read", path)
                return
        self.sizes[f"{width} x {height}"] += 1
        if len(images) == 1:
            return
        if images[0].shape != images[1].shape:
            self.problems.note("of another size than the clean picture", pair.degraded)
            return
        error = float(np.mean((images[0] - images[1]) ** 2))
        if error == 0:
            self.problems.note("that show no weather at all", pair.degraded)
        else:
            self.psnrs.append(-10 * float(np.log10(error)))

    def _rendering(self) -> Mapping[str, Any] | None:
        """Return what the folder above the degraded images says, where this program made them."""
        if not self.files or self.files[0].degraded == self.files[0].clean:
            return None
        path = self.files[0].degraded
        try:
            for depth, folder in enumerate(path.parents[1:4], 1):  # frames lie one deeper
                run = read_runs(folder).get(path.parents[depth - 1].name.lower())
                if run is not None:
                    self._count(run, folder)
                    return run
        except (OSError, ValueError) as error:
            self.problems.note(f"of a rendering that cannot be read ({error})", path)
        return None

    def _count(self, run: Mapping[str, Any], folder: Path) -> None:
        """Note a rendering that was stopped before its last image."""
        mine = sum(pair.degraded.is_relative_to(folder) for pair in self.files)
        missing = len(run["pictures"]) * run["frames"] - mine
        if missing > 0:
            self.problems.note(f"of a rendering that is not finished ({missing} to do)", folder)

    def health(self) -> Health:
        """Return the record."""
        description = parse_description(self.text)
        run = self._rendering()
        problems = self.problems.sentences()
        if not self.files:
            problems.append(f"no picture in {data_path(description.path)}")
        paths = {path for pair in self.files for path in (pair.degraded, pair.clean)}
        repeated = find_matches(self.clean, None, (self.hashes, self.hashes))
        return Health(
            dataset=self.text,
            pairs=len(self.files),
            clean_only=all(pair.degraded == pair.clean for pair in self.files),
            sizes=dict(self.sizes.most_common()),
            formats=dict(Counter(path.suffix.lower() for path in paths).most_common()),
            input_psnr_db=round(float(np.mean(self.psnrs)), 3) if self.psnrs else None,
            fingerprint=fingerprint([p for p in self.files if p.degraded.is_file()]),
            licence="that of the clean images" if run else LAYOUTS[description.kind].licence,
            rendered=None if run is None else _describe_run(run),
            problems=problems,
            repeated=[
                Same(str(self.clean[m.first]), str(self.clean[m.second]), m.how, round(m.error, 5))
                for m in repeated
            ],
        )


def _describe_run(run: Mapping[str, Any]) -> str:
    return (
        f"{run['preset']}, severity {run['severity']:g}, seed {run['seed']}, "
        f"over {len(run['pictures'])} images of {run['source']}"
    )


def _shared(first: _Patient, second: _Patient) -> list[Same]:
    matches = find_matches(first.clean, second.clean, (first.hashes, second.hashes))
    return [
        Same(str(first.clean[m.first]), str(second.clean[m.second]), m.how, round(m.error, 5))
        for m in matches
    ]


def _file_hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise FileError(f"Cannot read {path}: {error.strerror}.", path=path) from error
