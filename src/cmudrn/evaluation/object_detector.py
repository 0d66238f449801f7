"""A detector of people and vehicles: SSD with MobileNetV2, trained on Open Images V4 by Google.

Its file comes out of a package for web pages; `tools/fetch_detector.py` writes it. The network sees
300 x 300 pixels, so it looks at the whole picture and at windows of it.

References:
    Liu et al., SSD: Single Shot MultiBox Detector (2016).
    Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (2018).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import MissingExtraError, ModelFileError
from cmudrn.evaluation.detection import (
    PERSON,
    PLAUSIBLE,
    VEHICLE,
    Detect,
    Detection,
    without_doubles,
)
from cmudrn.files import open_regular
from cmudrn.image import Image

SHA256 = "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6"
"""Of the detector's file; another network would need other anchors and classes."""
MAX_FILE_BYTES = 16 << 20
"""A larger file is not read to its end: it cannot be the detector."""
IDENTIFIER = b"TFL3"
"""What a TFLite file has from its fifth byte on."""

SIDE = 300
"""Rows and columns that the network sees."""
CLASSES = {1: VEHICLE, 4: PERSON, 18: VEHICLE, 23: VEHICLE}
"""Column of a score -> kind: Bicycle, Person, Vehicle, Car of the network's 24 classes."""
STRIDES = (16, 32, 64, 128, 256, 512)
"""Pixels between the anchors of each feature map."""
SCALES = (0.2, 0.95)
"""Sides of the anchors of the first and of the last feature map, as shares of the picture's."""
RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
"""Width over height of the anchors."""
WINDOWS = ((0.6, (0.0, 0.4)), (0.4, (0.0, 0.3, 0.6)))
"""Side of the windows, and where they begin across and down, as shares of the picture's."""
EDGE = 0.01
"""A box that comes this near to a window's edge, as share of the window, is cut off by it."""

Floats = NDArray[np.float32]
RunNetwork = Callable[[Floats], tuple[Floats, Floats]]
"""(SIDE, SIDE, 3) in [-1, 1] -> (anchors, 4) offsets, (anchors, classes) scores before sigmoid."""


def open_detector(path: Path, threads: int | None = None) -> Detect:
    """Return the detector in a file.

    Args:
        path: as `tools/fetch_detector.py` writes it.
        threads: processor threads; None is one for each core.

    Raises:
        ModelFileError: the file cannot be read, or is another one.
        MissingExtraError: the package that runs it is not installed.
    """
    data = _read_file(path)
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  (an extra of its own)
    except ImportError as error:
        raise MissingExtraError("Finding people and vehicles", "detection") from error
    interpreter: Any = Interpreter(model_content=data, num_threads=threads or os.cpu_count() or 1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    made = {int(one["shape"][-1]): one["index"] for one in interpreter.get_output_details()}

    def run(pixels: Floats) -> tuple[Floats, Floats]:
        interpreter.set_tensor(given, pixels[None])
        interpreter.invoke()
        offsets, scores = (interpreter.get_tensor(made[width]) for width in sorted(made))
        return offsets.reshape(-1, 4), scores.reshape(len(make_anchors()), -1)

    return lambda image: detect_in_windows(run, image)


def _read_file(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"Cannot read the detector {path}: {reason}.", path=path) from error
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path} is no TFLite file, as the detector is.", path=path)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ModelFileError(
            f"{path} is another TFLite file than the detector, or damaged; "
            "tools/fetch_detector.py writes the detector.",
            path=path,
        )
    return data


@cache
def make_anchors() -> NDArray[np.float64]:
    """Return the boxes that the network's offsets are from: (1917, 4) of x, y, width, height.

    x and y are of the middle. All are shares of the picture's sides.
    """
    first, last = SCALES
    steps = len(STRIDES) - 1
    scales = [first + (last - first) * step / steps for step in range(len(STRIDES))] + [1.0]
    boxes = []
    for layer, stride in enumerate(STRIDES):
        shapes = [(scales[layer], ratio) for ratio in RATIOS]
        shapes.append(((scales[layer] * scales[layer + 1]) ** 0.5, 1.0))
        if layer == 0:
            shapes = [(0.1, 1.0), (first, 2.0), (first, 0.5)]
        cells = -(-SIDE // stride)
        for row, column, (scale, ratio) in product(range(cells), range(cells), shapes):
            middle = ((column + 0.5) / cells, (row + 0.5) / cells)
            boxes.append((*middle, scale * ratio**0.5, scale / ratio**0.5))
    return np.array(boxes)


def decode_boxes(offsets: Floats, anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes as left, top, right, bottom, shares of the picture's sides.

    Args:
        offsets: (N, 4) of y and x of the middle in tenths of the anchor's sides, then the
            logarithm of height and width in fifths.
        anchors: (N, 4) as of `make_anchors`.
    """
    down, across, height, width = offsets.T.astype(np.float64)
    x, y, anchor_width, anchor_height = anchors.T
    middle = np.stack([x + across / 10 * anchor_width, y + down / 10 * anchor_height], 1)
    half = np.stack([np.exp(width / 5) * anchor_width, np.exp(height / 5) * anchor_height], 1) / 2
    return np.concatenate([middle - half, middle + half], 1)


def detect_in_windows(run: RunNetwork, image: Image) -> list[Detection]:
    """Return what the network finds in a picture as a whole and in windows of it.

    Boxes that a window's edge cuts off are left to other windows.

    Args:
        run: the network.
        image: (H, W, 3) float32 RGB in [0, 1].
    """
    height, width = image.shape[:2]
    found = []
    for left, top, side in _windows():
        rows = slice(int(top * height), max(int((top + side) * height), int(top * height) + 1))
        columns = slice(int(left * width), max(int((left + side) * width), int(left * width) + 1))
        inner = (left > 0, top > 0, left + side < 1, top + side < 1)
        found += _detect_in_window(run, image, (rows, columns), inner)
    return without_doubles(found)


def _windows() -> Iterator[tuple[float, float, float]]:
    """Yield left, top and side of the windows as shares of the picture's sides."""
    yield 0.0, 0.0, 1.0
    for side, starts in WINDOWS:
        for left, top in product(starts, starts):
            yield left, top, side


def _detect_in_window(
    run: RunNetwork, image: Image, area: tuple[slice, slice], inner: tuple[bool, ...]
) -> list[Detection]:
    """Return a window's finds with boxes of the whole picture.

    Args:
        run: the network.
        image: the whole picture.
        area: rows and columns of the window.
        inner: whether the window's left, top, right and bottom edges lie in the picture.
    """
    window = np.rint(np.clip(image[area], 0, 1) * 255).astype(np.float32)
    offsets, scores = run(_shrink(window) / np.float32(127.5) - np.float32(1))
    confidences = 1 / (1 + np.exp(-scores.astype(np.float64)))
    boxes = decode_boxes(offsets, make_anchors())
    cut = ((boxes[:, :2] < EDGE) & inner[:2]) | ((boxes[:, 2:] > 1 - EDGE) & inner[2:])
    whole = ~cut.any(1)
    height, width = window.shape[:2]
    left, top = area[1].start, area[0].start
    found = []
    for column, kind in CLASSES.items():
        for place in np.flatnonzero((confidences[:, column] >= PLAUSIBLE) & whole):
            x0, y0, x1, y1 = (float(edge) for edge in np.clip(boxes[place], 0, 1))
            box = (left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height)
            found.append(Detection(kind, box, float(confidences[place, column])))
    return without_doubles(found)


def _shrink(window: Floats) -> Floats:
    """Return a window as (SIDE, SIDE, 3), bilinear over as many pixels as the network's has."""
    height, width, channels = window.shape
    bands = (_weights(height) @ window.reshape(height, -1)).reshape(SIDE, width, channels)
    shrunk: Floats = _weights(width) @ bands
    return shrunk


@lru_cache(maxsize=64)
def _weights(length: int) -> Floats:
    """Return (SIDE, length) weights of a triangular filter, each row's sum being 1."""
    step = length / SIDE
    middles = (np.arange(SIDE) + 0.5) * step
    distance = np.abs(np.arange(length) + 0.5 - middles[:, None]) / max(step, 1.0)
    weights = np.maximum(1 - distance, 0)
    normalised: Floats = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return normalised
