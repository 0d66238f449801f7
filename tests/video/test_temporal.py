"""Clips fused over time: weather goes, no frame is lost, and a stopped run resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.video import ClipLimits, ClipSettings, VideoFormat, restore_clip  # noqa: E402
from cmudrn.video.encode import SEGMENT_FRAMES  # noqa: E402


def test_a_stopped_clip_ends_with_the_same_bytes(identity_model: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= SEGMENT_FRAMES:
            raise StopError

    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(70)], extras=False)
    restorer = cmudrn.load(identity_model, threads=1)
    settings = ClipSettings(format=VideoFormat("ffv1"))
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
    assert restore_clip(restorer, source, target).frames == count
    assert clips.frame_times(target) == clips.frame_times(source)


def test_the_setting_turns_it_off(identity_model: Path, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(6)], extras=False)
    restorer = cmudrn.load(identity_model, threads=1)
    results = []
    for temporal in (True, False):
        target = tmp_path / f"{temporal}.mkv"
        settings = ClipSettings(temporal=temporal, format=VideoFormat("ffv1"))
        restore_clip(restorer, source, target, settings)
        results.append(target.read_bytes())
    assert results[0] != results[1]


def test_frames_too_large_for_the_memory_are_restored_one_by_one(
    identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(6)], extras=False)
    restorer = cmudrn.load(identity_model, threads=1)
    limits = ClipLimits(max_memory=20 * 8 * clips.WIDTH * clips.HEIGHT)
    settings = ClipSettings(format=VideoFormat("ffv1"), limits=limits)
    result = restore_clip(restorer, source, tmp_path / "b.mkv", settings)
    alone = ClipSettings(temporal=False, format=VideoFormat("ffv1"))
    restore_clip(restorer, source, tmp_path / "c.mkv", alone)
    assert any("one by one" in note for note in result.notes)
    assert (tmp_path / "b.mkv").read_bytes() == (tmp_path / "c.mkv").read_bytes()
