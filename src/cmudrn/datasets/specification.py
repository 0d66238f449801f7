"""From a description such as "csd:../CSD@train" to a dataset."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from cmudrn.datasets.dataset import Dataset, FileDataset, PairFiles, RenderedDataset
from cmudrn.datasets.files import list_pictures
from cmudrn.datasets.folders import data_path
from cmudrn.datasets.layouts import LAYOUTS, find_pairs, keyed, match
from cmudrn.datasets.problems import Problems
from cmudrn.datasets.splits import SPLITS, hold_out, official_part, read_list, split
from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.image.preview import picture_size

SEED = 24
"""Of weather made on the fly, unless a caller says otherwise."""


@dataclass(frozen=True)
class Description:
    """A dataset as it was asked for.

    Attributes:
        text: the whole description.
        kind: one of `LAYOUTS`.
        path: its folder; or two folders, degraded and clean, with a comma between them.
        part: official part, split, or list of names; "" is everything.
        held: "fit" or "val": what is left of the part, or held out of it; "" is all of it.
    """

    text: str
    kind: str
    path: str
    part: str = ""
    held: str = ""


def parse_description(text: str) -> Description:
    """Return what `KIND:PATH[@PART[/fit|/val]]` says.

    Raises:
        CmudrnError: it is not written like that, or there is no such kind.
    """
    kind, colon, path = text.partition(":")
    if not colon or not path:
        raise InvalidSettingError(
            f"A dataset is written KIND:PATH or KIND:PATH@PART, not {text!r}."
        )
    if kind not in LAYOUTS:
        near = difflib.get_close_matches(kind, LAYOUTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(LAYOUTS)}."
        raise InvalidSettingError(f"There is no kind of dataset {kind!r}; {hint}")
    folder, at, part = path.rpartition("@")
    if not at or data_path(path).exists():
        return Description(text, kind, path)
    for held in ("fit", "val"):
        if part.endswith(f"/{held}"):
            return Description(text, kind, folder, part.removesuffix(f"/{held}"), held)
    return Description(text, kind, folder, part)


def open_dataset(text: str, *, weather: str | None = None, seed: int = SEED) -> Dataset:
    """Return a dataset by its description; every file is found and measured, none decoded.

    Args:
        text: KIND:PATH[@PART], e.g. "csd:../CSD@train", "folder:rainy,clean"; docs/datasets.md
            lists the kinds and parts.
        weather: lay this weather over the clean pictures instead of reading degraded ones.
        seed: of that weather.

    Raises:
        CmudrnError: there is none of that description, or files are missing, left over,
            unreadable or of different sizes; one sentence names them all.
    """
    problems = Problems()
    files = find_files(parse_description(text), problems)
    check_files(files, problems)
    problems.refuse(text)
    if not files:
        raise CmudrnError(f"There are no pictures in {text}.")
    return FileDataset(files) if weather is None else RenderedDataset(files, weather, seed)


def has_degraded(text: str) -> bool:
    """Return whether a dataset brings degraded pictures, or clean ones only.

    Raises:
        CmudrnError: there is no such dataset.
    """
    files = find_files(parse_description(text), Problems())
    return any(pair.degraded != pair.clean for pair in files)


def find_files(description: Description, problems: Problems) -> list[PairFiles]:
    """Return the pairs of a description, in order; what makes no pair is noted in problems.

    Raises:
        CmudrnError: a folder, part or list is not there.
    """
    part, root = description.part, data_path(description.path)
    if "," in description.path and not root.exists():
        files = _two_folders(description, problems)
    else:
        files = find_pairs(description.kind, root, official_part(part), problems)
    if part.endswith(".txt"):
        files = read_list(Path(part), files)
    elif part in SPLITS:
        files = split(part, files)
    return hold_out(files, description.held) if description.held else files


def check_files(files: list[PairFiles], problems: Problems) -> None:
    """Note in problems every pair whose files cannot be read or differ in size."""
    for pair in files:
        sizes = []
        for path in dict.fromkeys((pair.degraded, pair.clean)):
            try:
                sizes.append(picture_size(path))
            except CmudrnError:
                problems.note("that cannot be read", path)
        if len(set(sizes)) > 1:
            problems.note("of another size than the clean picture", pair.degraded)


def _two_folders(description: Description, problems: Problems) -> list[PairFiles]:
    folders = [data_path(text) for text in description.path.split(",")]
    if len(folders) != 2:
        raise InvalidSettingError(
            f"Two folders are written DEGRADED,CLEAN, not {description.path!r}."
        )
    if description.part and not description.part.endswith(".txt"):
        raise InvalidSettingError(f"Two folders have no part {description.part!r}.")
    for folder in folders:
        if not folder.is_dir():
            raise CmudrnError(f"There is no folder {folder}.")
    layout = LAYOUTS[description.kind]
    degraded, clean = (keyed(folder, layout, list_pictures(folder)) for folder in folders)
    return list(match(degraded, clean, problems))
