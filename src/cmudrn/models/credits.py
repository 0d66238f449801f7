"""The photographs that the shipped models were trained on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parent / "training-data.csv"


@dataclass(frozen=True)
class TrainingPhotograph:
    """One photograph of the training data. Models of nature alone used those below train/.

    Attributes:
        file: path below the data's folder, as "train/x.jpg".
        source: repository or collection that it comes from.
        path_in_source: where it lies there.
        author: who made it; "" where the source does not say.
        licence: as the source words it.
        page: address; "" where none is known.
    """

    file: str
    source: str
    path_in_source: str
    author: str
    licence: str
    page: str


def training_photographs(path: Path = LIST) -> list[TrainingPhotograph]:
    """Return all photographs of the training data, in the order of the list.

    Example:
        >>> training_photographs()[0].licence
        'CC0-1.0 (Buddies of Budgie backgrounds)'
    """
    with path.open(encoding="utf-8", newline="") as stream:
        return [TrainingPhotograph(**row) for row in csv.DictReader(stream)]
