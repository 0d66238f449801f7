"""Tiles cover an image once and overlap by the receptive field."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cmudrn.restoration.tiling import make_strips, make_tiles

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


@given(lengths, lengths, st.integers(0, 40), st.integers(1, 40_000), st.sampled_from([2, 4, 8]))
@settings(max_examples=300, deadline=None)
def test_windows_lie_on_the_grid_of_a_strided_network(
    height: int, width: int, radius: int, max_pixels: int, alignment: int
) -> None:
    covered = np.zeros((height, width), int)
    for tile in make_tiles(height, width, radius, max_pixels, alignment):
        covered[tile.core] += 1
        for length, window, core, inner, padding in zip(
            (height, width), tile.window, tile.core, tile.inner, tile.padding, strict=True
        ):
            seen = window.stop - window.start + padding
            assert window.start % alignment == 0 and seen % alignment == 0
            assert window.start <= max(0, core.start - radius)
            assert window.stop >= min(length, core.stop + radius)
            assert 0 <= padding < alignment and (window.stop == length or not padding)
            assert window.start + inner.start == core.start
            assert window.start + inner.stop == core.stop
        allowed = max(max_pixels, (4 * (radius + alignment - 1) + 16) ** 2)
        assert tile.pixels <= allowed or len(covered) * covered.shape[1] <= max_pixels
    assert (covered == 1).all()


@given(st.integers(1, 3000), st.integers(0, 40), st.integers(1, 900), st.sampled_from([1, 4, 16]))
@settings(max_examples=300, deadline=None)
def test_strips_have_one_width_and_reach_far_enough(
    width: int, radius: int, columns: int, alignment: int
) -> None:
    strips = make_strips(50, width, radius, columns, alignment)
    covered = np.zeros(width, int)
    for strip in strips:
        window, core, inner = strip.window[1], strip.core[1], strip.inner[1]
        covered[core] += 1
        assert strip.core[0] == slice(0, 50)
        assert window.start % alignment == 0
        assert window.start <= max(0, core.start - radius)
        assert window.stop >= min(width, core.stop + radius)
        assert (window.start + inner.start, window.start + inner.stop) == (core.start, core.stop)
    seen = {strip.window[1].stop - strip.window[1].start + strip.padding[1] for strip in strips}
    assert len(seen) == 1
    assert seen.pop() <= max(columns + alignment - 1, 4 * radius + 3 * alignment + 16)
    assert (covered == 1).all()


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
