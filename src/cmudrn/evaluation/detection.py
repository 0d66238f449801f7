"""Whether people and vehicles are found again in degraded and restored pictures.

A detector looks at the clean picture, the degraded one and each method's result. What it is sure of
in the clean picture is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cmudrn.datasets import Dataset
from cmudrn.evaluation.downstream import (
    Box,
    FoundAgain,
    area,
    common_area,
    downstream_table,
    each_pair,
    mean_and_interval,
    share_of_smaller,
)
from cmudrn.evaluation.evaluator import OnPair
from cmudrn.evaluation.methods import Method, input_method
from cmudrn.image import Image

PERSON, VEHICLE = "person", "vehicle"

CONFIDENT = 0.5
"""Finds in the clean picture from here on are the reference; finds elsewhere may be false."""
PLAUSIBLE = 0.3
"""Finds below are not looked at: they neither find a thing again nor excuse a false find."""
SAME_PLACE = 0.5
"""Intersection over union from which on two boxes are of one thing."""
PART = 0.75
"""Share of a box that lies in another of its kind, from which on it is a part of that thing."""


@dataclass(frozen=True)
class Detection:
    """A person or a vehicle in a picture.

    Attributes:
        kind: `PERSON` or `VEHICLE`.
        box: left, top, right, bottom in pixels.
        confidence: of the detector, 0 to 1.
    """

    kind: str
    box: Box
    confidence: float


Detect = Callable[[Image], list[Detection]]
"""(H, W, 3) float32 RGB in [0, 1] -> what is in it with a confidence of `PLAUSIBLE` or more."""


@dataclass(frozen=True)
class DetectedAgain(FoundAgain):
    """How much of what is in a picture was found again in one version of it.

    Attributes:
        people: number of people of the reference.
        vehicles: number of vehicles of the reference.
        false_finds: number of confident finds that are not in the clean picture.
    """

    people: int
    vehicles: int
    false_finds: int


def intersection_over_union(first: Box, second: Box) -> float:
    """Return the share of two boxes' joint area that both have, 0 to 1."""
    shared = common_area(first, second)
    return shared / (area(first) + area(second) - shared) if shared > 0 else 0.0


def without_doubles(detections: Sequence[Detection]) -> list[Detection]:
    """Return detections, the most confident first, without those that repeat one of their kind.

    This is non-maximum suppression. A detection repeats another that is at the same place, that is
    a part of it or that it is a part of; windows of a picture cut things into parts.
    """
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda one: -one.confidence):
        if not any(_repeats(detection, other) for other in kept):
            kept.append(detection)
    return kept


def _repeats(first: Detection, second: Detection) -> bool:
    part = share_of_smaller(first.box, second.box) >= PART
    return _same(first, second) or (part and first.kind == second.kind)


def _same(first: Detection, second: Detection) -> bool:
    near = intersection_over_union(first.box, second.box) >= SAME_PLACE
    return near and first.kind == second.kind


def confident(detections: Sequence[Detection]) -> list[Detection]:
    """Return the detections that are certain enough to be a reference, or to be false."""
    return [detection for detection in detections if detection.confidence >= CONFIDENT]


def share_found(found: Sequence[Detection], reference: Sequence[Detection]) -> float:
    """Return the share of the reference that was found again, 0 to 1.

    A thing counts if one of its kind with a confidence of `PLAUSIBLE` or more was found at its
    place. Each find serves for one thing, that of the largest overlap first. Without a reference
    the share is no number.
    """
    overlaps = [
        (intersection_over_union(thing.box, find.box), row, column)
        for row, thing in enumerate(reference)
        for column, find in enumerate(found)
        if find.confidence >= PLAUSIBLE and _same(thing, find)
    ]
    things: set[int] = set()
    finds: set[int] = set()
    for _, row, column in sorted(overlaps, reverse=True):
        if row not in things and column not in finds:
            things.add(row)
            finds.add(column)
    return len(things) / len(reference) if reference else float("nan")


def count_false(found: Sequence[Detection], clean: Sequence[Detection]) -> int:
    """Return how many confident finds have no partner in the clean picture.

    Args:
        found: in the degraded or restored picture.
        clean: in the clean picture, with a confidence of `PLAUSIBLE` or more.
    """
    real = [one for one in clean if one.confidence >= PLAUSIBLE]
    return sum(not any(_same(find, one) for one in real) for find in confident(found))


def evaluate_detection(
    name: str,
    dataset: Dataset,
    methods: Sequence[Method],
    detect: Detect,
    *,
    limit: int | None = None,
    on_pair: OnPair | None = None,
) -> list[DetectedAgain]:
    """Return what is found again in the degraded pictures and in every method's results.

    Pictures whose clean version holds nobody and nothing have no share; false finds are counted in
    them too.

    Args:
        name: of the set, for the table.
        dataset: pairs.
        methods: of different names.
        detect: the detector.
        limit: use the first so many pictures only.
        on_pair: told of progress.
    """
    results = []
    for pair in each_pair(dataset, limit, on_pair):
        clean = detect(pair.clean)
        reference = confident(clean)
        people = sum(one.kind == PERSON for one in reference)
        vehicles = len(reference) - people
        for method in (input_method(), *methods):
            found = detect(method.restore(pair))
            counts = (people, vehicles, count_false(found, clean))
            recall = share_found(found, reference)
            results.append(DetectedAgain(name, method.name, pair.name, recall, *counts))
    return results


def detection_table(results: Sequence[DetectedAgain]) -> list[list[str]]:
    """Return a heading and a row for each set and method: means with their 95 % intervals."""
    heading = ["people", "vehicles", "found again", "more than in the input", "false finds"]

    def columns(group: Sequence[DetectedAgain], given: Sequence[DetectedAgain]) -> list[str]:
        pairs = zip(given, group, strict=True)
        gains = [after.recall - before.recall for before, after in pairs]
        return [
            str(sum(result.people for result in group)),
            str(sum(result.vehicles for result in group)),
            mean_and_interval([result.recall for result in group]),
            "" if group is given else mean_and_interval(gains, "+"),
            mean_and_interval([result.false_finds for result in group]),
        ]

    return downstream_table(results, heading, columns)
