"""Files: listing of folders, permissions of results, links, concurrent writers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cmudrn.errors import TargetError, UnsupportedImageError
from cmudrn.files import atomic_file, check_target, claim_target, list_folder

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def relative(folder: Path, paths: tuple[Path, ...]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_is_listed_and_nothing_is_passed_over_in_silence(tmp_path: Path) -> None:
    make(tmp_path, "b.JPG", "a/c.jfif", "a/d.tif", "e.mp4", "notes.txt", "out/f.png")
    make(tmp_path, ".g.png", ".hidden/h.png", "i.heic", "j.JXL", "k.gif", "l.dng")
    listing = list_folder(tmp_path, skip=[tmp_path / "out"])
    assert relative(tmp_path, listing.images) == ["a/c.jfif", "a/d.tif", "b.JPG"]
    assert relative(tmp_path, listing.clips) == ["e.mp4"]
    assert [Path(str(error.path)).name for error in listing.passed_over] == [
        "i.heic", "j.JXL", "k.gif", "l.dng",
    ]  # fmt: skip
    assert all(isinstance(error, UnsupportedImageError) for error in listing.passed_over)
    assert relative(tmp_path, list_folder(tmp_path, below=False).images) == ["b.JPG"]


@posix
def test_links_that_leave_the_folder_are_named_and_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "in/a.png", "in/sub/b.png", "outside/c.png")
    folder = tmp_path / "in"
    for name, place in {
        "inside.png": "sub/b.png",
        "leaves.png": "../outside/c.png",
        "folder": "../outside",
        "loop": ".",
        "nothing.png": "gone.png",
    }.items():
        (folder / name).symlink_to(place)
    listing = list_folder(folder)
    assert relative(folder, listing.images) == ["a.png", "inside.png", "nothing.png", "sub/b.png"]
    assert [Path(str(error.path)).name for error in listing.passed_over] == [
        "folder", "leaves.png", "loop",
    ]  # fmt: skip
    assert "leaves.png" in relative(folder, list_folder(folder, follow_links=True).images)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize(
    "source, replaced, expected",
    [
        (None, None, 0o644),
        (0o600, None, 0o600),
        (0o640, None, 0o640),
        (0o444, None, 0o644),
        (0o400, None, 0o600),
        (0o644, 0o600, 0o600),
        (0o600, 0o644, 0o600),
        (None, 0o664, 0o664),
        (None, 0o604, 0o604),
    ],
)
def test_a_result_is_never_more_readable_than_its_source(
    tmp_path: Path, source: int | None, replaced: int | None, expected: int
) -> None:
    like = tmp_path / "source"
    make(tmp_path, "source")
    if source is not None:
        like.chmod(source)
    target = tmp_path / "target"
    if replaced is not None:
        target.write_bytes(b"old")
        target.chmod(replaced)
    before = os.umask(0o022)
    try:
        with atomic_file(target, like=[] if source is None else [like]) as file:
            file.write(b"new")
            assert (
                os.fstat(file.fileno()).st_mode & 0o077 & ~expected == 0
            )  # from the first byte on
    finally:
        os.umask(before)
    assert mode(target) == expected and target.read_bytes() == b"new"


@posix
def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    make(tmp_path, "real/a.png")
    link = tmp_path / "link.png"
    link.symlink_to("real/a.png")
    check_target(None, link, overwrite=True)
    with atomic_file(link) as file:
        file.write(b"new")
    assert link.is_symlink() and (tmp_path / "real" / "a.png").read_bytes() == b"new"
    assert os.listdir(tmp_path / "real") == ["a.png"]


@posix
@pytest.mark.parametrize("kind", ["exists", "dangling", "pipe", "device", "folder", "source"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_targets_that_are_refused(tmp_path: Path, kind: str, overwrite: bool) -> None:
    source, target = tmp_path / "source.png", tmp_path / "target.png"
    make(tmp_path, "source.png")
    match kind:
        case "exists":
            make(tmp_path, "target.png")
        case "dangling":
            target.symlink_to("nothing")
        case "pipe":
            os.mkfifo(target)
        case "device":
            target.symlink_to("/dev/null")
        case "folder":
            target.mkdir()
        case "source":
            os.link(source, target)
    if kind == "exists" and overwrite:
        check_target(source, target, overwrite)
        return
    with pytest.raises(TargetError) as refusal:
        check_target(source, target, overwrite)
    assert refusal.value.exists == (not overwrite and kind in ("exists", "pipe", "device"))
    assert refusal.value.path == target


@posix
def test_file_and_name_are_on_the_disk_when_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("folder" if folder else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr("os.fsync", note_fsync)
    monkeypatch.setattr("os.replace", note_replace)
    with atomic_file(tmp_path / "a") as file:
        file.write(b"x")
    assert done == ["file", "rename", "folder"]


@posix
def test_a_second_process_is_told_that_another_is_at_work(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    script = (
        "import sys\nfrom cmudrn.errors import TargetError\nfrom cmudrn.files import claim_target\n"
        "try:\n    with claim_target(sys.argv[1]):\n        print('free')\n"
        "except TargetError as error:\n    print(error.busy)"
    )

    def ask(path: Path) -> str:
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    with claim_target(target):
        assert ask(target) == "True"
        assert ask(tmp_path / "b.png") == "free"
    assert ask(target) == "free"
