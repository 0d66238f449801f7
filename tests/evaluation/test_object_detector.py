"""The detector's anchors, boxes, windows and file; a stand-in runs instead of its network."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from cmudrn.errors import MissingExtraError, ModelFileError
from cmudrn.evaluation import object_detector
from cmudrn.evaluation.detection import PERSON, VEHICLE
from cmudrn.evaluation.object_detector import (
    SIDE,
    Floats,
    decode_boxes,
    detect_in_windows,
    make_anchors,
    open_detector,
)

INSTALLED = importlib.util.find_spec("ai_edge_litert") is not None
PERSON_COLUMN, CAR_COLUMN, CHAIR_COLUMN = 4, 23, 5


def test_there_are_as_many_anchors_as_the_network_has_boxes() -> None:
    anchors = make_anchors()
    assert anchors.shape == (1917, 4)
    assert anchors[0] == pytest.approx([0.5 / 19, 0.5 / 19, 0.1, 0.1])
    assert anchors[1] == pytest.approx([0.5 / 19, 0.5 / 19, 0.2 * 2**0.5, 0.2 / 2**0.5])
    assert anchors[3] == pytest.approx([1.5 / 19, 0.5 / 19, 0.1, 0.1])
    assert anchors[3 * 19 * 19] == pytest.approx([0.05, 0.05, 0.35, 0.35])
    assert anchors[-1] == pytest.approx([0.5, 0.5, 0.95**0.5, 0.95**0.5])


def test_a_box_is_decoded_as_by_hand() -> None:
    anchors = np.array([[0.5, 0.4, 0.2, 0.1], [0.5, 0.5, 0.2, 0.1]])
    offsets = np.array([[0, 0, 0, 0], [10, 5, 5 * math.log(4), 5 * math.log(2)]], np.float32)
    boxes = decode_boxes(offsets, anchors)
    assert boxes[0] == pytest.approx([0.4, 0.35, 0.6, 0.45])
    # The middle goes 0.5 of a width to the right and 1 height down; 0.4 wide, 0.4 high.
    assert boxes[1] == pytest.approx([0.4, 0.4, 0.8, 0.8])


class Network:
    """Finds things of given anchors in its first window only, nothing in others."""

    def __init__(self, **confidences: float) -> None:
        self.confidences = confidences
        self.seen: list[Floats] = []

    def __call__(self, pixels: Floats) -> tuple[Floats, Floats]:
        self.seen.append(pixels)
        offsets = np.zeros((1917, 4), np.float32)
        scores = np.full((1917, 24), -9, np.float32)
        columns = {"person": PERSON_COLUMN, "car": CAR_COLUMN, "chair": CHAIR_COLUMN}
        for kind, confidence in self.confidences.items() if len(self.seen) == 1 else ():
            scores[-1, columns[kind]] = math.log(confidence / (1 - confidence))
        return offsets, scores


def test_people_and_vehicles_are_found_with_boxes_in_pixels() -> None:
    network = Network(person=0.9, car=0.6, chair=0.99)
    found = detect_in_windows(network, np.zeros((100, 200, 3), np.float32))
    assert [(one.kind, round(one.confidence, 4)) for one in found] == [
        (PERSON, 0.9),
        (VEHICLE, 0.6),
    ]
    half = 0.95**0.5 / 2
    edges = [(0.5 - half) * 200, (0.5 - half) * 100, (0.5 + half) * 200, (0.5 + half) * 100]
    assert found[0].box == pytest.approx(edges)
    assert detect_in_windows(Network(person=0.29), np.zeros((100, 200, 3), np.float32)) == []


def test_the_network_sees_the_picture_and_thirteen_windows() -> None:
    network = Network()
    ramp = np.broadcast_to(np.linspace(0, 1, 1000, dtype=np.float32)[None, :, None], (400, 1000, 3))
    detect_in_windows(network, ramp)
    assert [pixels.shape for pixels in network.seen] == [(SIDE, SIDE, 3)] * 14
    assert {pixels.dtype for pixels in network.seen} == {np.dtype(np.float32)}
    edges = [(float(p[150, 0, 0]), float(p[150, -1, 0])) for p in network.seen]
    starts_and_sides = [(0, 1), *[(x, 0.6) for x in (0, 0, 0.4, 0.4)]]
    starts_and_sides += [(x, 0.4) for x in (0, 0, 0, 0.3, 0.3, 0.3, 0.6, 0.6, 0.6)]
    for (first, last), (start, side) in zip(edges, starts_and_sides, strict=True):
        assert first == pytest.approx(2 * start - 1, abs=0.01)
        assert last == pytest.approx(2 * (start + side) - 1, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (299, 301)])
def test_pictures_of_any_size_are_looked_at(shape: tuple[int, int]) -> None:
    network = Network(person=0.9)
    found = detect_in_windows(network, np.full((*shape, 3), 0.5, np.float32))
    assert len(found) == 1
    assert all(np.allclose(pixels, 128 / 127.5 - 1, atol=1e-4) for pixels in network.seen)


def test_boxes_that_a_window_cuts_off_are_left_out() -> None:
    found = detect_in_windows(everywhere, np.zeros((100, 100, 3), np.float32))
    assert len(found) == 1
    assert found[0].box == pytest.approx((0, 0, 100, 100))


def everywhere(pixels: Floats) -> tuple[Floats, Floats]:
    """Find a person that fills every window."""
    offsets, scores = np.zeros((1917, 4), np.float32), np.full((1917, 24), -9, np.float32)
    offsets[-1, 2:] = 1
    scores[-1, PERSON_COLUMN] = 3
    return offsets, scores


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "Cannot read the detector"),
        (b"", "is no TFLite file"),
        (b"\x89PNG\r\n\x1a\n", "is no TFLite file"),
        (b"\x24\0\0\0TFL3" + bytes(40), "is another TFLite file than the detector, or damaged"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "detector.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=sentence) as caught:
        open_detector(path)
    assert str(path) in str(caught.value) and caught.value.path == path


def test_a_folder_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Cannot read the detector"):
        open_detector(tmp_path)


@pytest.mark.skipif(INSTALLED, reason="the detection extra is installed")
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_detector, "_read_file", lambda path: b"")
    with pytest.raises(MissingExtraError, match=r"the extra detection: pip install"):
        open_detector(tmp_path / "detector.tflite")
