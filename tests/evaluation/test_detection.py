"""People and vehicles that are found again in degraded and restored pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmudrn.datasets import Pair
from cmudrn.evaluation.detection import (
    PERSON,
    VEHICLE,
    Detection,
    confident,
    count_false,
    detection_table,
    evaluate_detection,
    intersection_over_union,
    share_found,
    without_doubles,
)
from cmudrn.evaluation.downstream import Box
from cmudrn.evaluation.methods import Method
from cmudrn.image import Image

LEFT, RIGHT = (0.0, 0.0, 10.0, 20.0), (30.0, 0.0, 40.0, 20.0)
REFERENCE = [Detection(PERSON, LEFT, 0.9), Detection(VEHICLE, RIGHT, 0.6)]


@pytest.mark.parametrize(
    ("second", "union"),
    [
        (LEFT, 1.0),
        ((0.0, 0.0, 10.0, 10.0), 0.5),
        ((5.0, 0.0, 15.0, 20.0), 1 / 3),
        (RIGHT, 0.0),
        ((10.0, 0.0, 20.0, 20.0), 0.0),
        ((2.0, 3.0, 2.0, 3.0), 0.0),
    ],
)
def test_intersection_over_union(second: Box, union: float) -> None:
    assert intersection_over_union(LEFT, second) == pytest.approx(union)
    assert intersection_over_union(second, LEFT) == pytest.approx(union)


def test_doubles_and_parts_are_left_out() -> None:
    best = Detection(PERSON, LEFT, 0.9)
    near = Detection(PERSON, (0.0, 2.0, 10.0, 21.0), 0.8)
    part = Detection(PERSON, (2.0, 0.0, 8.0, 6.0), 0.7)
    whole = Detection(PERSON, (-20.0, 0.0, 20.0, 60.0), 0.6)
    beside = Detection(PERSON, (6.0, 0.0, 16.0, 20.0), 0.5)
    other = Detection(VEHICLE, LEFT, 0.4)
    assert without_doubles([other, beside, whole, part, near, best]) == [best, beside, other]


@pytest.mark.parametrize(
    ("found", "recall"),
    [
        (REFERENCE, 1.0),
        ([Detection(PERSON, LEFT, 0.3)], 0.5),
        ([Detection(PERSON, LEFT, 0.29)], 0.0),
        ([Detection(VEHICLE, LEFT, 0.9)], 0.0),
        ([Detection(PERSON, (0.0, 0.0, 10.0, 10.0), 0.9)], 0.5),
        ([Detection(PERSON, (0.0, 0.0, 10.0, 9.0), 0.9)], 0.0),
        ([], 0.0),
    ],
)
def test_what_counts_as_found_again(found: list[Detection], recall: float) -> None:
    assert share_found(found, REFERENCE) == recall


def test_one_find_serves_for_one_thing_only() -> None:
    crowd = [Detection(PERSON, LEFT, 0.9), Detection(PERSON, (2.0, 0.0, 12.0, 20.0), 0.8)]
    between = Detection(PERSON, (1.0, 0.0, 11.0, 20.0), 0.9)
    assert share_found([between], crowd) == 0.5
    assert share_found([between, crowd[0]], crowd) == 1.0
    assert math.isnan(share_found([between], []))


def test_false_finds_are_certain_ones_without_a_partner() -> None:
    clean = [Detection(PERSON, LEFT, 0.3), Detection(PERSON, RIGHT, 0.2)]
    found = [
        Detection(PERSON, LEFT, 0.9),
        Detection(VEHICLE, LEFT, 0.5),
        Detection(PERSON, RIGHT, 0.6),
        Detection(PERSON, (60.0, 0.0, 70.0, 20.0), 0.49),
    ]
    assert count_false(found, clean) == 2
    assert confident(found) == found[:3]


class Pairs:
    """Two pairs: the clean picture of the first is white, of the second grey."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Pair:
        clean = np.full((40, 120, 3), 1.0 - 0.5 * index, np.float32)
        return Pair(name=f"picture {index}", degraded=clean * np.float32(0.2), clean=clean)


def detect(image: Image) -> list[Detection]:
    """Person and vehicle are in white pictures, the person in dark, a ghost in black ones."""
    level = float(image.mean())
    if level < 0.01:
        return [Detection(PERSON, (60.0, 0.0, 70.0, 20.0), 0.9)]
    return REFERENCE if level > 0.9 else REFERENCE[:1] if 0.15 < level < 0.3 else []


def test_shares_false_finds_and_worse_pictures_are_in_the_table() -> None:
    methods = [
        Method("perfect", lambda pair: pair.clean),
        Method("black", lambda pair: pair.clean * np.float32(0)),
    ]
    results = evaluate_detection("set", Pairs(), methods, detect)  # type: ignore[arg-type]
    heading, *body = detection_table(results)
    rows = [dict(zip(heading, row, strict=True)) for row in body]
    assert [row["model"] for row in rows] == ["input", "perfect", "black"]
    assert {(row["pictures"], row["people"], row["vehicles"]) for row in rows} == {("2", "1", "1")}
    assert [row["found again"][:5] for row in rows] == ["0.500", "1.000", "0.000"]
    gains = [row["more than in the input"][:6] for row in rows]
    assert gains == ["", "+0.500", "-0.500"]
    assert [row["false finds"][:5] for row in rows] == ["0.000", "0.000", "1.000"]
    assert [row["worse than the input"] for row in rows] == ["", "", "picture 0"]
    limited = evaluate_detection("set", Pairs(), methods, detect, limit=1)  # type: ignore[arg-type]
    assert len(limited) == 3
