"""Every training photograph is listed with its source and licence."""

from __future__ import annotations

import csv
from pathlib import Path

import cmudrn

CREDITS = Path(cmudrn.__file__).parent / "models" / "training-data.csv"


def test_every_training_photograph_has_a_source_and_a_licence() -> None:
    with CREDITS.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["file"] for row in rows}) == len(rows) > 400
    assert all(row["source"] and row["path_in_source"] and row["licence"] for row in rows)


def test_the_list_is_that_of_the_photographs(shared_data: Path) -> None:
    with CREDITS.open(encoding="utf-8", newline="") as stream:
        listed = {row["file"] for row in csv.DictReader(stream)}
    folders = (shared_data / "clean" / name for name in ("train", "train_urban"))
    there = {f"{path.parent.name}/{path.name}" for folder in folders for path in folder.iterdir()}
    assert there == listed
