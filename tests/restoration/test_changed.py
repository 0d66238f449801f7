"""The share of a picture that was changed strongly, and the note about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cmudrn
from cmudrn.image import Pixels
from cmudrn.restoration import RestoreSettings, Sequence, restore_image
from cmudrn.restoration import changed as module
from cmudrn.restoration.changed import MUCH, share_changed, warn_of_change


@pytest.mark.parametrize(
    ("dtype", "step"), [(np.uint8, 1), (np.uint16, 257), (np.float32, np.float32(1 / 255))]
)
@pytest.mark.parametrize("channels", [None, 3])
def test_more_than_twenty_steps_in_a_channel_count(
    dtype: type, step: float, channels: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BAND_PIXELS", 20)  # several bands
    shape = (10, 8, channels) if channels else (10, 8)
    before: Pixels = np.full(shape, 100 * step).astype(dtype)
    after = before.copy()
    last = (..., 2) if channels else ...
    after[:4][last] += np.asarray(21 * step).astype(dtype)
    after[4:][last] -= np.asarray(19 * step).astype(dtype)
    assert share_changed(before, after) == pytest.approx(0.4)
    assert share_changed(before, before) == 0


def test_the_note_names_the_share() -> None:
    assert warn_of_change(MUCH) == ()
    (note,) = warn_of_change(0.34)
    assert "34% of the picture" in note


def test_a_restored_image_knows_how_much_was_changed(darkening_model: Path) -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    image[:5] = 10  # black stays black
    restorer = cmudrn.load(darkening_model)
    done = restore_image(restorer, image)
    assert done.changed == pytest.approx(0.75) and "75%" in done.notes[0]
    assert not restore_image(restorer, image, RestoreSettings(0.1)).notes
    assert not restore_image(restorer, image, sequence=Sequence()).notes
