"""Which pairs are for training and which are for testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cmudrn.datasets.dataset import PairFiles
from cmudrn.datasets.near_duplicates import find_scenes
from cmudrn.errors import CmudrnError

SPLITS = ("paper-train", "paper-test", "scene-train", "scene-test")
"""Parts that are not folders: the paper's 70/30 by order, and 80/20 by scene."""

PAPER_SHARE = 0.7
"""Of the official train part that the paper trains on, from the first picture on."""

EVERY = {"scene": 5, "val": 10}
"""One scene in so many is for testing, or for validation."""


def official_part(part: str) -> str | None:
    """Return the official part that a part is taken from; None is all of them.

    The paper divides CSD's train part; the split by scene divides everything.
    """
    if part.startswith("paper-"):
        return "train"
    return None if not part or part in SPLITS or part.endswith(".txt") else part


def split(part: str, files: Sequence[PairFiles]) -> list[PairFiles]:
    """Return the pairs of one of `SPLITS`."""
    if part.startswith("paper-"):
        border = round(PAPER_SHARE * len(files))
        return list(files[:border] if part == "paper-train" else files[border:])
    return _by_scene(files, EVERY["scene"], part == "scene-test")


def hold_out(files: Sequence[PairFiles], held: str) -> list[PairFiles]:
    """Return the tenth of the scenes that is held out ("val"), or what is left ("fit")."""
    return _by_scene(files, EVERY["val"], held == "val")


def read_list(path: Path, files: Sequence[PairFiles]) -> list[PairFiles]:
    """Return the pairs whose names a text file lists, one a line, in its order.

    Raises:
        CmudrnError: the list cannot be read, or names a pair that is not there.
    """
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CmudrnError(f"The list {path} cannot be read.") from error
    table = {pair.name: pair for pair in files}
    wanted = [name.strip() for name in names if name.strip()]
    missing = [name for name in wanted if name not in table]
    if missing:
        raise CmudrnError(f"{path} lists {len(missing)} pairs that are not there: {missing[0]}.")
    return [table[name] for name in wanted]


def _by_scene(files: Sequence[PairFiles], every: int, held: bool) -> list[PairFiles]:
    """Return the pairs of every so-many-th scene, or of all others: no scene is in both."""
    scenes = find_scenes([pair.clean for pair in files])
    return [pair for pair, scene in zip(files, scenes, strict=True) if (scene % every == 0) == held]
