"""Whether text in a picture can be read again: what restoration does to those who use it.

A character recogniser reads the clean picture, the degraded one and each method's result. What it
read in the clean picture is the reference. Loop and table serve other readers too.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from cmudrn.datasets import Dataset, Pair
from cmudrn.errors import MissingExtraError
from cmudrn.evaluation.evaluator import OnPair
from cmudrn.evaluation.methods import INPUT, Method, input_method
from cmudrn.evaluation.statistics import bootstrap
from cmudrn.image import Image

CONFIDENT = 0.8
"""Lines of the clean picture that the recogniser is less sure of are no reference."""
CHARACTERS = 3
"""Likewise lines of fewer letters and digits."""
WORSE = 0.02
"""A picture of which this much less is found than in the input counts as worse."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Line:
    """A line of text in a picture.

    Attributes:
        text: what was read.
        box: left, top, right, bottom in pixels.
        confidence: of the recogniser, 0 to 1.
    """

    text: str
    box: Box
    confidence: float


ReadText = Callable[[Image], list[Line]]
"""(H, W, 3) float32 RGB in [0, 1] -> the lines of text in it."""


@dataclass(frozen=True)
class FoundAgain:
    """How much of a picture's content was found again in one version of it.

    Attributes:
        dataset: the set's name.
        method: the method's name.
        picture: the pair's name.
        recall: of the reference that was found again, 0 to 1; not a number without a reference.
    """

    dataset: str
    method: str
    picture: str
    recall: float


@dataclass(frozen=True)
class Reading(FoundAgain):
    """How much of a picture's text was read again in one version of it.

    Attributes:
        lines: number of lines of the reference; `recall` is of their characters.
    """

    lines: int


_Result = TypeVar("_Result", bound=FoundAgain)


def open_recogniser() -> ReadText:
    """Return a recogniser of Latin and Chinese letters (PP-OCRv4 by RapidOCR, models inside).

    Raises:
        MissingExtraError: its package is not installed.
    """
    try:
        from rapidocr_onnxruntime import RapidOCR  # noqa: PLC0415  (an extra of its own)
    except ImportError as error:
        raise MissingExtraError("Reading text", "downstream") from error
    recognise: Any = RapidOCR()

    def read(image: Image) -> list[Line]:
        pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
        found, _ = recognise(np.ascontiguousarray(pixels[..., ::-1]))
        return [_line(*entry) for entry in found or []]

    return read


def _line(corners: Sequence[Sequence[float]], text: str, confidence: float) -> Line:
    across, down = zip(*corners, strict=True)
    box = (min(across), min(down), max(across), max(down))
    return Line(text, (float(box[0]), float(box[1]), float(box[2]), float(box[3])), confidence)


def reference_lines(lines: Sequence[Line]) -> list[Line]:
    """Return the lines that are certain and long enough to be a reference."""
    return [
        line
        for line in lines
        if line.confidence >= CONFIDENT and sum(map(str.isalnum, line.text)) >= CHARACTERS
    ]


def characters_read(found: Sequence[Line], reference: Sequence[Line]) -> float:
    """Return the share of the reference's characters that were read again, 0 to 1.

    A character counts if it is in the right order in a line that was found at the same place. What
    was read beyond the reference does not count.
    """
    total = sum(len(line.text) for line in reference)
    again = 0
    for line in reference:
        near = [other.text for other in found if share_of_smaller(line.box, other.box) >= 0.5]
        again += max((_common(line.text, text) for text in near), default=0)
    return again / total if total else float("nan")


def _common(first: str, second: str) -> int:
    matcher = difflib.SequenceMatcher(None, first.lower(), second.lower(), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def area(box: Box) -> float:
    """Return the area of a box in square pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def common_area(first: Box, second: Box) -> float:
    """Return the area that two boxes share in square pixels, 0 where they do not touch."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


def share_of_smaller(first: Box, second: Box) -> float:
    """Return the share of the smaller of two boxes that lies in the other, 0 to 1."""
    shared = common_area(first, second)
    return shared / min(area(first), area(second)) if shared > 0 else 0.0


def each_pair(dataset: Dataset, limit: int | None, on_pair: OnPair | None) -> Iterator[Pair]:
    """Yield the pairs of a dataset, or the first so many, and tell of progress after each."""
    count = len(dataset) if limit is None else min(limit, len(dataset))
    for index in range(count):
        yield dataset[index]
        if on_pair:
            on_pair(index + 1, count)


def evaluate_text(
    name: str,
    dataset: Dataset,
    methods: Sequence[Method],
    read: ReadText,
    *,
    limit: int | None = None,
    on_pair: OnPair | None = None,
) -> list[Reading]:
    """Return how much text is read again in the degraded pictures and in every method's results.

    Pictures whose clean version has no text are left out.

    Args:
        name: of the set, for the table.
        dataset: pairs.
        methods: of different names.
        read: the recogniser.
        limit: use the first so many pictures only.
        on_pair: told of progress.
    """
    readings = []
    for pair in each_pair(dataset, limit, on_pair):
        reference = reference_lines(read(pair.clean))
        for method in (input_method(), *methods) if reference else ():
            recall = characters_read(read(method.restore(pair)), reference)
            readings.append(Reading(name, method.name, pair.name, recall, len(reference)))
    return readings


def text_table(readings: Sequence[Reading]) -> list[list[str]]:
    """Return a heading and a row for each set and method: mean share with its 95 % interval."""

    def columns(group: Sequence[Reading], _: Sequence[Reading]) -> list[str]:
        lines = str(sum(reading.lines for reading in group))
        return [lines, mean_and_interval([reading.recall for reading in group])]

    return downstream_table(readings, ["lines", "characters read again"], columns)


def downstream_table(
    results: Sequence[_Result],
    heading: Sequence[str],
    columns: Callable[[Sequence[_Result], Sequence[_Result]], list[str]],
) -> list[list[str]]:
    """Return a heading and a row for each set and method.

    The last column names the pictures of which less is found than in the input.

    Args:
        results: of every set, method and picture; methods have the same pictures in one order.
        heading: of the columns in the middle.
        columns: (results of one set and method, those of the set's input) -> their cells.
    """
    rows = [["set", "pictures", "model", *heading, "worse than the input"]]
    groups: dict[tuple[str, str], list[_Result]] = {}
    for result in results:
        groups.setdefault((result.dataset, result.method), []).append(result)
    for (dataset, method), group in groups.items():
        given = groups[dataset, INPUT]
        pairs = zip(given, group, strict=True)
        worse = [after.picture for before, after in pairs if after.recall < before.recall - WORSE]
        cells = columns(group, given)
        rows.append([dataset, str(len(group)), method, *cells, ", ".join(worse)])
    return rows


def mean_and_interval(values: Sequence[float], sign: str = "") -> str:
    """Return a mean with its 95 % bootstrap interval as the text of a cell.

    Args:
        values: one for each picture; those that are no numbers are left out.
        sign: "+" also writes the sign of a mean above 0, for differences.
    """
    estimate = bootstrap(values)
    return f"{estimate.mean:{sign}.3f} ({estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"
