"""How published datasets lie on a disk: which folder holds what, which names make a pair."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmudrn.datasets.dataset import PairFiles
from cmudrn.datasets.files import list_pictures
from cmudrn.datasets.problems import Problems
from cmudrn.errors import FileError, InvalidSettingError
from cmudrn.weather.presets import WEATHERS

CLEAN = ("gt", "target", "clean", "norain", "groundtruth", "ground_truth")
SNOW = ("snow", "syn", "synthetic")
RAIN = ("rain", "rainy")
ANY = tuple(
    dict.fromkeys(
        ("input", "degraded", *SNOW, *RAIN, *(weather.kind for weather in WEATHERS.values()))
    )
)
"""Names that the folder of degraded images may have, with those that this program renders."""


@dataclass(frozen=True)
class Layout:
    """One way of laying pairs on a disk.

    Attributes:
        parts: official part -> names its folder may have, anywhere below the dataset's.
        degraded: names that the folder of degraded pictures may have, in any case.
        key: what the two files of a pair have in common, from a path without its suffix.
        clean_of: the key of the clean picture, from that of a degraded one; several may share one.
        scenes: whether degraded and clean pictures lie in one folder and names tell them apart, as
            `SCENE` says.
        licence: what its authors allow, as far as known.
    """

    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    degraded: tuple[str, ...] = ANY
    key: Callable[[str], str] = str
    clean_of: Callable[[str], str] = str
    scenes: bool = False
    licence: str = "not known"


def first_number(name: str) -> str:
    """Return the first number in a file name, so that rain-001 and norain-1x2 are a pair."""
    found = re.search(r"\d+", Path(name).name)
    return str(int(found.group())) if found else name


def before_the_mark(name: str) -> str:
    """Return the path of 7_12 without _12: the twelfth rainy picture of the clean picture 7."""
    return name.rpartition("_")[0] or name


SCENE = re.compile(r"(?P<scene>.*)-(?P<side>[RC])-\d+")
"""Names of GT-RAIN, without suffix: rainy (R) and clean (C) frames of a scene."""
CSD_PARTS = {"train": ("Train", "train2500"), "test": ("Test", "test2000")}
SNOW100K_PARTS = {
    "train": ("all",),
    "test-s": ("Snow100K-S",),
    "test-m": ("Snow100K-M",),
    "test-l": ("Snow100K-L",),
}
GT_RAIN_PARTS = {
    "train": ("GT-RAIN_train", "train"),
    "val": ("GT-RAIN_val", "val"),
    "test": ("GT-RAIN_test", "test"),
}
BSD = "research only: its targets are photographs of the Berkeley Segmentation Dataset"

LAYOUTS: dict[str, Layout] = {
    "csd": Layout(CSD_PARTS, SNOW, licence="none stated by its authors; research use"),
    "rain-csd": Layout(CSD_PARTS, RAIN, licence="that of the clean pictures"),
    "snow100k": Layout(SNOW100K_PARTS, SNOW, licence="none stated by its authors; research use"),
    "srrs": Layout(CSD_PARTS, SNOW, licence="none stated by its authors; research use"),
    "rain100": Layout({"train": ("train",), "test": ("test",)}, key=first_number, licence=BSD),
    "rain1400": Layout(
        {"train": ("training", "train"), "test": ("testing", "test")},
        ("rainy_image", *RAIN),
        clean_of=before_the_mark,
    ),
    "spa": Layout(degraded=RAIN, key=lambda name: name.removesuffix("gt")),
    "gt-rain": Layout(GT_RAIN_PARTS, scenes=True),
    "folder": Layout(),
}


def find_pairs(kind: str, root: Path, part: str | None, problems: Problems) -> list[PairFiles]:
    """Return the pairs of a dataset, or of one official part of it.

    A `folder` that has no pair of folders in it is one of clean pictures, and degraded is clean.

    Args:
        kind: one of `LAYOUTS`.
        root: the dataset's folder.
        part: an official part; None is all that there are.
        problems: files that make no pair are noted here.

    Raises:
        CmudrnError: the folder or the part is not there, or is not of this layout.
    """
    if not root.is_dir():
        raise FileError(f"There is no folder {root}.", path=root)
    layout = LAYOUTS[kind]
    if part is not None:
        return list(_pairs_below(_part_folder(layout, root, part), layout, problems))
    folders = {name: _find_folder(root, names) for name, names in layout.parts.items()}
    found = [folder for folder in folders.values() if folder is not None]
    if not found:
        return list(_pairs_below(root, layout, problems, alone=kind == "folder"))
    return [
        PairFiles(f"{folder.name}/{files.name}", files.degraded, files.clean)
        for folder in found
        for files in _pairs_below(folder, layout, problems)
    ]


def match(
    degraded: Iterable[tuple[str, Path]],
    clean: Iterable[tuple[str, Path]],
    problems: Problems,
    clean_of: Callable[[str], str] = str,
) -> Iterator[PairFiles]:
    """Yield the pairs of two lists of (key, file), in the order of the first list."""
    inputs, targets = _by_key(degraded, problems), _by_key(clean, problems)
    for key, path in inputs.items():
        if clean_of(key) in targets:
            name = key if Path(key).name == path.stem else path.stem
            yield PairFiles(name, path, targets[clean_of(key)])
        else:
            problems.note("without a clean picture", path)
    wanted = set(map(clean_of, inputs))
    for key, path in targets.items():
        if key not in wanted:
            problems.note("without a degraded picture", path)


def keyed(folder: Path, layout: Layout, pictures: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield (key, file) of pictures in a folder."""
    for path in pictures:
        yield layout.key(path.relative_to(folder).with_suffix("").as_posix()), path


def _by_key(files: Iterable[tuple[str, Path]], problems: Problems) -> dict[str, Path]:
    table: dict[str, Path] = {}
    for key, path in files:
        if table.setdefault(key, path) != path:
            problems.note("of a name that is there twice", path)
    return table


def _part_folder(layout: Layout, root: Path, part: str) -> Path:
    if part not in layout.parts:
        known = f"it has {', '.join(layout.parts)}" if layout.parts else "it has none"
        raise InvalidSettingError(
            f"{root} has no part {part!r}; {known}.", setting="part", value=part
        )
    folder = _find_folder(root, layout.parts[part])
    if folder is None:
        names = " or ".join(layout.parts[part])
        raise FileError(
            f"{root} has no part {part!r}: there is no folder {names} in it.", path=root
        )
    return folder


def _find_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the nearest folder below root that has one of the names, in any case."""
    wanted = {name.lower() for name in names}
    level = [root]
    for _ in range(7):  # the archive of Snow100K holds its test set six folders deep
        level = [sub for folder in level for sub in _folders_in(folder).values()]
        for folder in level:
            if folder.name.lower() in wanted:
                return folder
    return None


def _folders_in(folder: Path) -> dict[str, Path]:
    return {sub.name.lower(): sub for sub in sorted(folder.iterdir()) if sub.is_dir()}


def _pairs_below(
    folder: Path, layout: Layout, problems: Problems, alone: bool = False
) -> Iterator[PairFiles]:
    if layout.scenes:
        yield from _scene_pairs(folder, problems)
        return
    folders = _folders_in(folder)
    inputs = [folders[name] for name in layout.degraded if name in folders]
    targets = [folders[name] for name in CLEAN if name in folders]
    if len(inputs) > 1 or len(targets) > 1:
        names = ", ".join(sub.name for sub in (*inputs, *targets))
        raise FileError(
            f"{folder} can be paired in more than one way: it holds {names}.", path=folder
        )
    if inputs and targets:
        degraded, clean = (
            keyed(sub, layout, list_pictures(sub)) for sub in (inputs[0], targets[0])
        )
        yield from match(degraded, clean, problems, layout.clean_of)
    elif layout.key is first_number and not targets:
        yield from _flat_pairs(folder, inputs[0] if inputs else folder, layout, problems)
    elif alone and not inputs and not targets:
        for key, path in _by_key(keyed(folder, layout, list_pictures(folder)), problems).items():
            yield PairFiles(key, path, path)
    else:
        raise FileError(
            f"{folder} holds no pairs: it needs a folder {_choice(layout.degraded)} and a folder "
            f"{_choice(CLEAN)}.",
            path=folder,
        )


def _flat_pairs(
    folder: Path, rainy: Path, layout: Layout, problems: Problems
) -> Iterator[PairFiles]:
    """Yield pairs of rain-N and norain-N that lie in one folder, or with the rainy ones below."""
    inputs = [p for p in list_pictures(rainy) if rainy != folder or p.name.startswith("rain-")]
    targets = [p for p in list_pictures(folder, below=False) if p.name.startswith("norain-")]
    yield from match(keyed(rainy, layout, inputs), keyed(folder, layout, targets), problems)


def _scene_pairs(folder: Path, problems: Problems) -> Iterator[PairFiles]:
    """Yield pairs of a scene's rainy frames with its clean frame, which lie in one folder."""
    sides: dict[str, list[tuple[str, Path]]] = {"R": [], "C": []}
    for path in list_pictures(folder):
        found = SCENE.fullmatch(path.relative_to(folder).with_suffix("").as_posix())
        if found is None:
            problems.note("whose name tells neither rainy nor clean", path)
            continue
        key = found.group() if found["side"] == "R" else found["scene"]
        sides[found["side"]].append((key, path))
    yield from match(sides["R"], sides["C"], problems, lambda key: key.rpartition("-R-")[0])


def _choice(names: tuple[str, ...]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1]))
