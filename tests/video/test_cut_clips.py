"""Clips whose end is missing: what can be decoded is there, and a sentence tells of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402
from support.clip_mutations import FRAMES, make_clips  # noqa: E402

from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.video.cut_files import Cut, find_cut  # noqa: E402
from cmudrn.video.decode import FrameReader, probe  # noqa: E402
from cmudrn.video.integrity import check_integrity  # noqa: E402

SILENT = {".h264"}
"""Kinds of files that say nothing of their size."""


def read(path: Path) -> tuple[int, list[str]]:
    """Return how many frames of a clip can be decoded, and what is told of it."""
    clip = probe(path)
    frames = sum(1 for _ in FrameReader(clip).read())
    return frames, check_integrity(clip, frames)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("whole")
    made = make_clips(folder)
    first = folder / "first.mp4"  # its list of frames lies before them
    with (
        av.open(str(made[0])) as source,
        av.open(str(first), "w", options={"movflags": "faststart"}) as output,
    ):
        copy = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = copy
                output.mux_one(packet)
    return [*made, first]


def test_nothing_is_missing_in_whole_clips(whole: list[Path]) -> None:
    assert len(whole) > 10
    for path in whole:
        assert find_cut(path) is None, path
        assert read(path) == (FRAMES, []), path


def test_what_is_cut_off_is_told(whole: list[Path], tmp_path: Path) -> None:
    for source in whole:
        data = source.read_bytes()
        path = tmp_path / source.name
        for share in (0.99, 0.9, 0.6):
            # No multiple of the packets of transport streams.
            path.write_bytes(data[: int(share * len(data)) // 188 * 188 - 97])
            try:
                frames, notes = read(path)
            except CmudrnError as error:  # what lists the frames is missing, or all of them
                assert "it is cut off" in str(error) or source.suffix in SILENT, path
                continue
            assert 1 <= frames <= FRAMES
            if source.suffix not in SILENT and (frames < FRAMES or notes):
                assert len(notes) == 1, (path.name, share)
                assert notes[0].startswith("The file is cut off"), path
                assert f"{frames} " in notes[0]


@pytest.mark.parametrize("shift", [0, 4])
def test_frames_before_a_damaged_one_are_kept(shift: int, tmp_path: Path) -> None:
    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(40)], extras=False)
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(shift)
    with av.open(str(source)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        position, size = packets[30 + shift].pos, packets[30 + shift].size
    data[position + 12 : position + size] = rng.bytes(size - 12)
    source.write_bytes(data)
    frames, _ = read(source)
    assert frames >= 30


def test_a_cut_says_how_much_there_is() -> None:
    assert str(Cut(900, 1_000)) == "cut off, 900 of at least 1,000 bytes are there"
    assert str(Cut(900)) == "cut off within its last part"


MANY = 300
EMPTY_PARTS = {
    "riff": b"RIFF\x04\0\0\0AVI " * MANY + b"RIFF\xff\0\0\0AVI ",
    "boxes": b"\0\0\0\x08free" * MANY + b"\0\0\xff\xffmdat" + bytes(8),
    "flv": b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + (b"\x09" + bytes(14)) * MANY + bytes(13),
    "ivf": b"DKIF\0\0\x20\0".ljust(32, b"\0") + bytes(12) * MANY + b"\xff" + bytes(13),
    "yuv4mpeg": b"YUV4MPEG2 W2 H2\n" + b"FRAME\n".ljust(12, b"\0") * MANY + b"FRAME\n\0",
}


@pytest.mark.parametrize("kind", EMPTY_PARTS)
def test_a_file_of_nothing_but_parts_is_not_visited_without_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(EMPTY_PARTS[kind])
    assert isinstance(find_cut(path), Cut)
    monkeypatch.setattr("cmudrn.video.cut_files.MAX_PARTS", MANY - 1)
    assert find_cut(path) is None
