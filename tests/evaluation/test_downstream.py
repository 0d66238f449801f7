"""Text that is read again in degraded and restored pictures."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from cmudrn.datasets import Pair
from cmudrn.errors import MissingExtraError
from cmudrn.evaluation.downstream import (
    Line,
    characters_read,
    evaluate_text,
    open_recogniser,
    reference_lines,
    text_table,
)
from cmudrn.evaluation.methods import Method
from cmudrn.image import Image

BOX = (10.0, 10.0, 110.0, 30.0)
INSTALLED = importlib.util.find_spec("rapidocr_onnxruntime") is not None


@pytest.mark.parametrize(
    ("found", "recall"),
    [
        ([Line("STOP SIGN", BOX, 0.9)], 1.0),
        ([Line("stop sign", BOX, 0.1)], 1.0),
        ([Line("STOP", BOX, 0.9)], 4 / 9),
        ([Line("STOP SIGN AHEAD", BOX, 0.9)], 1.0),
        ([Line("STOP SIGN", (10.0, 50.0, 110.0, 70.0), 0.9)], 0.0),
        ([Line("STOP SIGN", (60.0, 12.0, 90.0, 28.0), 0.9)], 1.0),
        ([Line("STOP", BOX, 0.9), Line("STOP SIGN", BOX, 0.2)], 1.0),
        ([], 0.0),
    ],
)
def test_recall_of_the_characters(found: list[Line], recall: float) -> None:
    assert characters_read(found, [Line("STOP SIGN", BOX, 0.99)]) == pytest.approx(recall)


def test_only_certain_lines_of_some_length_are_a_reference() -> None:
    lines = [Line("STOP", BOX, 0.99), Line("STOP", BOX, 0.7), Line("- a -", BOX, 0.99)]
    assert reference_lines(lines) == lines[:1]
    assert math.isnan(characters_read(lines, []))


class Pairs:
    """Two pairs: the clean picture of the first is white, of the second grey."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Pair:
        clean = np.full((40, 120, 3), 1.0 - 0.5 * index, np.float32)
        return Pair(name=f"picture {index}", degraded=clean * np.float32(0.2), clean=clean)


def read(image: Image) -> list[Line]:
    """Text is in white pictures, half of it in darker ones, none in grey."""
    level = float(image.mean())
    text = "STOP SIGN" if level > 0.9 else "STOP" if level < 0.3 else ""
    return [Line(text, BOX, 0.99)] if text else []


def test_pictures_without_text_are_left_out_and_worse_ones_named() -> None:
    methods = [
        Method("perfect", lambda pair: pair.clean),
        Method("grey", lambda pair: pair.clean * np.float32(0.5)),
    ]
    rows = text_table(evaluate_text("set", Pairs(), methods, read))  # type: ignore[arg-type]
    assert [row[1:3] for row in rows[1:]] == [["1", "input"], ["1", "perfect"], ["1", "grey"]]
    assert [row[4][:5] for row in rows[1:]] == ["0.444", "1.000", "0.000"]
    assert [row[5] for row in rows[1:]] == ["", "", "picture 0"]


@pytest.mark.skipif(INSTALLED, reason="the downstream extra is installed")
def test_a_missing_recogniser_is_named() -> None:
    with pytest.raises(MissingExtraError, match="downstream"):
        open_recogniser()


@pytest.mark.skipif(not INSTALLED, reason="the downstream extra is not installed")
def test_the_recogniser_reads_what_was_written() -> None:
    picture = Pillow.new("RGB", (320, 96), "white")
    font = ImageFont.load_default(40)
    ImageDraw.Draw(picture).text((20, 20), "EXIT 42", fill="black", font=font)
    lines = open_recogniser()(np.asarray(picture, np.float32) / np.float32(255))
    assert [line.text.replace(" ", "") for line in lines] == ["EXIT42"]
    left, top, right, bottom = lines[0].box
    assert 0 <= left < 60 and right > 140 and top < 45 and bottom > 50
