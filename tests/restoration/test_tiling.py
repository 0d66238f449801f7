"""Tiles cover a picture once, and see as far as the network does."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cmudrn.restoration.tiling import make_tiles

lengths = st.integers(1, 300)


@given(lengths, lengths, st.integers(0, 40), st.integers(1, 40_000))
@settings(max_examples=300, deadline=None)
def test_cores_cover_once_and_windows_reach_far_enough(height, width, radius, max_pixels) -> None:
    covered = np.zeros((height, width), int)
    for tile in make_tiles(height, width, radius, max_pixels):
        covered[tile.core] += 1
        for length, window, core, inner in zip(
            (height, width), tile.window, tile.core, tile.inner, strict=True
        ):
            assert window.start == max(0, core.start - radius)
            assert window.stop == min(length, core.stop + radius)
            assert (window.start + inner.start, window.start + inner.stop) == (
                core.start,
                core.stop,
            )
    assert (covered == 1).all()


@given(lengths, lengths, st.integers(0, 40), st.integers(1, 40_000))
@settings(max_examples=300, deadline=None)
def test_windows_stay_within_the_limit(height, width, radius, max_pixels) -> None:
    allowed = max(max_pixels, (4 * radius + 16) ** 2)
    for tile in make_tiles(height, width, radius, max_pixels):
        rows, columns = tile.window
        assert (rows.stop - rows.start) * (columns.stop - columns.start) <= allowed


def test_unknown_radius_makes_one_tile() -> None:
    (tile,) = make_tiles(5000, 4000, None, 100)
    assert tile.core == tile.window == (slice(0, 5000), slice(0, 4000))


def test_a_large_picture_costs_little_more_than_its_pixels() -> None:
    tiles = make_tiles(3000, 4000, 45, 640 * 640)
    work = sum(
        (t.window[0].stop - t.window[0].start) * (t.window[1].stop - t.window[1].start)
        for t in tiles
    )
    assert work < 1.4 * 3000 * 4000
