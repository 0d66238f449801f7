"""Damaged clips are refused in one sentence, or restored; `tools/fuzz.py clips` tries many more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="the extra video is not installed")

from support.clip_mutations import make_clips, mutate_clip, try_clip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_clips(tmp_path_factory.mktemp("clips"))


def test_whole_clips_are_restored(whole: list[Path], tmp_path: Path) -> None:
    assert len(whole) > 10
    assert {try_clip(path, tmp_path / "results") for path in whole} == {"restored"}


@pytest.mark.parametrize("seed", range(4))
def test_damaged_clips_are_refused_or_restored(
    seed: int, whole: list[Path], tmp_path: Path
) -> None:
    rng, ends = np.random.default_rng(seed), set()
    for number in range(25):
        source = whole[number % len(whole)]
        path = tmp_path / f"damaged{source.suffix}"
        path.write_bytes(mutate_clip(source.read_bytes(), rng))
        ends.add(try_clip(path, tmp_path / "results"))
    assert {"restored", "VideoFileError"} <= ends
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["damaged."] * len(
        list(tmp_path.iterdir())
    )
