"""Fusion over time: what falls is gone, what stands or moves stays, and a stopped run resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.image import Pixels  # noqa: E402
from cmudrn.video import ClipSettings, VideoFormat, restore_clip  # noqa: E402
from cmudrn.video.encode import SEGMENT_FRAMES  # noqa: E402
from cmudrn.video.temporal import fuse  # noqa: E402


def scene(count: int = 5) -> tuple[Pixels, list[Pixels]]:
    """Return a still background and frames of it with small bright flakes, each in one frame."""
    y, x = np.mgrid[:60, :80]
    still = np.stack([x + y, 2 * x % 90, y * 2], -1).astype(np.uint8)
    frames = []
    for number in range(count):
        frame = still.copy()
        frame[number * 7 : number * 7 + 3, 10 : 70 : 9 + number] = 255
        frames.append(frame)
    return still, frames


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_flakes_before_a_still_scene_vanish(dtype: type[np.unsignedinteger]) -> None:
    still, frames = scene()
    factor = dtype(257 if dtype is np.uint16 else 1)
    window = [frame.astype(dtype) * factor for frame in frames]
    for current in window:
        fused = fuse(window, current)
        assert fused.dtype == dtype
        np.testing.assert_array_equal(fused, still.astype(dtype) * factor)


@pytest.mark.parametrize("value", [255, 0])
def test_what_moves_is_left_as_it_is(value: int) -> None:
    still, _ = scene()
    frames = []
    for number in range(5):
        frame = still.copy()
        frame[20:44, 5 + 12 * number : 29 + 12 * number] = value
        frames.append(frame)
    np.testing.assert_array_equal(fuse(frames, frames[2])[20:44, 29:53], frames[2][20:44, 29:53])


def test_a_stopped_clip_ends_with_the_same_bytes(identity_model: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= SEGMENT_FRAMES:
            raise StopError

    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(70)], extras=False)
    restorer = cmudrn.load(identity_model, threads=1)
    settings = ClipSettings(temporal=True, format=VideoFormat("ffv1"))
    whole, resumed = tmp_path / "whole.mkv", tmp_path / "resumed.mkv"
    assert restore_clip(restorer, source, whole, settings).frames == 70
    with pytest.raises(StopError):
        restore_clip(restorer, source, resumed, settings, stop)
    assert restore_clip(restorer, source, resumed, settings).resumed_at == SEGMENT_FRAMES
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.parametrize("count", [1, 4, 5, 6])
def test_short_clips_keep_all_their_frames(
    count: int, identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(count)], extras=False)
    target = tmp_path / "b.mkv"
    restorer = cmudrn.load(identity_model, threads=1)
    assert restore_clip(restorer, source, target, ClipSettings(temporal=True)).frames == count
    assert clips.frame_times(target) == clips.frame_times(source)
