"""Raw frames on a pipe."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="the extra video is not installed")

import cmudrn  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.restore.video.raw import RawFormat, restore_raw  # noqa: E402


@pytest.mark.parametrize("layout", ["rgb24", "bgr24", "gray", "rgb48le", "gray16le"])
def test_frames_come_out_as_they_went_in(layout: str, darkening_model: Path) -> None:
    form = RawFormat.parse(layout, "7x5")
    deep = "16" in layout or "48" in layout
    rng = np.random.default_rng(0)
    channels = 1 if layout.startswith("gray") else 3
    top = 65_535 if deep else 255
    frames = rng.integers(top // 3, top, (3, 5, 7, channels))
    data = frames.astype("<u2" if deep else "u1").tobytes()
    out = BytesIO()
    assert restore_raw(BytesIO(data), out, form, cmudrn.load(darkening_model, threads=1)) == 3
    found = np.frombuffer(out.getvalue(), "<u2" if deep else "u1").reshape(frames.shape)
    # Every channel is darkened alike, so only the order of bytes and frames matters.
    assert np.abs(found - (frames - 0.2 * top)).max() <= top / 255 * 1.01


def test_an_input_that_ends_inside_a_frame_is_told(identity_model: Path) -> None:
    form = RawFormat.parse("rgb24", "4x4")
    with pytest.raises(CmudrnError, match="10 of 48 bytes"):
        restore_raw(BytesIO(bytes(58)), BytesIO(), form, cmudrn.load(identity_model, threads=1))


@pytest.mark.parametrize("words", [("yuv", "4x4"), ("rgb24", "4"), ("rgb24", "0x4")])
def test_words_that_are_no_format_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(CmudrnError):
        RawFormat.parse(*words)
