"""What one image may take, before and after it is restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from cmudrn.errors import LimitExceededError
from cmudrn.image import Picture, encode_picture
from cmudrn.server import Limits
from cmudrn.server.processing import Models, RestoreRequest, process_request

LIMITS = Limits(pixels=1000, layer_pixels=600, webp_pixels=500)


@pytest.mark.parametrize(
    ("pixels", "alpha", "request_", "limit"),
    [
        (np.zeros((40, 26, 3), np.uint8), None, RestoreRequest("m"), "max_pixels"),
        (np.zeros((25, 25, 3), np.uint8), None, RestoreRequest("m", view="rain"), "max_pixels"),
        (np.zeros((30, 30, 3), np.uint16), None, RestoreRequest("m"), "max_memory"),
        (np.zeros((20, 20, 3), np.float32), None, RestoreRequest("m"), "max_memory"),
        (np.zeros((25, 25, 3), np.uint8), None, RestoreRequest("m", format="webp"), "webp_pixels"),
        (np.zeros((25, 25, 3), np.uint8), None, RestoreRequest("m", format="avif"), "webp_pixels"),
        (np.zeros((30, 30, 3), np.uint8), np.zeros((30, 30), np.uint8), RestoreRequest("m"), None),
        (np.zeros((25, 25, 3), np.uint16), None, RestoreRequest("m"), None),
    ],
)
def test_an_image_is_refused_by_its_header(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    request_: RestoreRequest,
    limit: str | None,
    darkening_model: Path,
) -> None:
    restorer = Models({"m": str(darkening_model)}, threads=1).restorer("m")
    data = encode_picture(Picture(pixels, alpha), "tiff")
    if limit is None:
        answer = process_request(lambda: data, request_, restorer, LIMITS, lambda *_: None)
        assert answer.pixels == pixels.shape[0] * pixels.shape[1]
        return
    with pytest.raises(LimitExceededError) as caught:
        process_request(lambda: data, request_, restorer, LIMITS, lambda *_: None)
    assert caught.value.limit_name == limit
    assert str(caught.value).endswith(".")
