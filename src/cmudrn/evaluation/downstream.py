"""Whether text in a picture can be read again: what restoration does to those who use it.

A character recogniser reads the clean picture, the degraded one and each method's result. What it
read in the clean picture is the reference.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmudrn.datasets import Dataset
from cmudrn.errors import MissingExtraError
from cmudrn.evaluation.methods import Method, input_method
from cmudrn.evaluation.statistics import bootstrap
from cmudrn.image import Image

CONFIDENT = 0.8
"""Lines of the clean picture that the recogniser is less sure of are no reference."""
CHARACTERS = 3
"""Likewise lines of fewer letters and digits."""


@dataclass(frozen=True)
class Line:
    """A line of text in a picture.

    Attributes:
        text: what was read.
        box: left, top, right, bottom in pixels.
        confidence: of the recogniser, 0 to 1.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float


ReadText = Callable[[Image], list[Line]]
"""(H, W, 3) float32 RGB in [0, 1] -> the lines of text in it."""


@dataclass(frozen=True)
class Reading:
    """How much of a picture's text was read again in one version of it.

    Attributes:
        dataset: the set's name.
        method: the method's name.
        picture: the pair's name.
        lines: number of lines of the reference.
        recall: of the reference's characters that were read again, 0 to 1.
    """

    dataset: str
    method: str
    picture: str
    lines: int
    recall: float


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
        near = [other.text for other in found if _overlap(line.box, other.box)]
        again += max((_common(line.text, text) for text in near), default=0)
    return again / total if total else float("nan")


def _common(first: str, second: str) -> int:
    matcher = difflib.SequenceMatcher(None, first.lower(), second.lower(), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Return whether two boxes share half of the smaller one's area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width > 0 and height > 0 and width * height >= 0.5 * min(areas)


def evaluate_text(
    name: str,
    dataset: Dataset,
    methods: Sequence[Method],
    read: ReadText,
    *,
    limit: int | None = None,
    on_pair: Callable[[int, int], None] | None = None,
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
    count = len(dataset) if limit is None else min(limit, len(dataset))
    readings = []
    for index in range(count):
        pair = dataset[index]
        reference = reference_lines(read(pair.clean))
        for method in (input_method(), *methods) if reference else ():
            recall = characters_read(read(method.restore(pair)), reference)
            readings.append(Reading(name, method.name, pair.name, len(reference), recall))
        if on_pair:
            on_pair(index + 1, count)
    return readings


def text_table(readings: Sequence[Reading]) -> list[list[str]]:
    """Return a heading and a row for each set and method: mean share with its 95 % interval."""
    rows = [["set", "pictures", "model", "lines", "characters read again", "worse than the input"]]
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.dataset, reading.method), []).append(reading)
    for (dataset, method), group in groups.items():
        estimate = bootstrap([reading.recall for reading in group])
        given = {x.picture: x.recall for x in groups[dataset, input_method().name]}
        worse = [x.picture for x in group if x.recall < given[x.picture] - 0.02]
        recall = f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
        lines = str(sum(reading.lines for reading in group))
        rows.append([dataset, str(len(group)), method, lines, recall, ", ".join(worse)])
    return rows
