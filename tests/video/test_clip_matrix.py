"""Clips that FFmpeg's own program writes, as they come out; `tools/clip_matrix.py` runs all."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clip_matrix, clips  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.restoration import RestoreSettings  # noqa: E402
from cmudrn.video import ClipSettings, VideoFormat, restore_clip  # noqa: E402


def first_frame(path: Path) -> np.ndarray:
    """Return a clip's first frame as RGB."""
    with av.open(str(path)) as clip:
        frame = next(clip.decode(video=0)).reformat(format="rgb24", src_colorspace=1)
        return np.asarray(frame.to_ndarray().astype(float))


pytestmark = pytest.mark.skipif(
    not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="no ffmpeg here"
)


@pytest.mark.parametrize(
    ("container", "kind"),
    [
        ("mp4", "h264 full range"),
        ("mov", "png"),
        ("mkv", "ffv1 RGB"),
        ("avi", "mpeg4"),
        ("avi", "mpeg1"),  # to some of whose times FFmpeg adds the delay of the codec
        ("vob", "mpeg2"),
        ("avi", "h264"),  # whose frames are not in the order of the file, as in the next two
        ("wmv", "h264"),
        ("mxf", "h264"),
        ("ts", "mpeg2"),
        ("mpg", "mpeg1"),
        ("wmv", "wmv2"),
        ("mkv", "theora"),
        ("flv", "flv1"),
        ("mxf", "mpeg2 4:2:2"),
    ],
)
def test_a_foreign_clip_comes_out_as_it_was(
    container: str, kind: str, identity_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / f"a.{container}"
    if not clip_matrix.make(source, kind):
        pytest.skip("this build of FFmpeg writes no such clip")
    target = clip_matrix.target_of(source)
    settings = ClipSettings(RestoreSettings(strength=0))
    result = restore_clip(cmudrn.load(identity_model, threads=1), source, target, settings)
    assert clip_matrix.differences(source, target, result.notes) == []


@pytest.mark.parametrize("codec", ["mpeg2", "prores"])
def test_full_range_is_converted_where_no_tag_tells_of_it(
    codec: str, identity_model: Path, tmp_path: Path
) -> None:
    source = clips.make_clip(
        tmp_path / "a.mkv", [512 * n for n in range(4)], extras=False, colours=(1, 2, 1, 1)
    )
    target = tmp_path / "b.mov"
    settings = ClipSettings(RestoreSettings(strength=0), format=VideoFormat(codec))
    restore_clip(cmudrn.load(identity_model, threads=1), source, target, settings)
    assert clip_matrix.look(source)["range"] == "pc"
    assert clip_matrix.look(target)["range"] == "tv"
    before, after = (first_frame(path) for path in (source, target))
    assert np.abs(before.mean((0, 1)) - after.mean((0, 1))).max() < 1.5
