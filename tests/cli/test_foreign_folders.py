"""Folders that others have put something into: no waiting, no links out, no more readers.

Each table names every command that takes a folder or a file.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cmudrn.datasets.rendering import Rendering, render_folder
from cmudrn.errors import CmudrnError
from cmudrn.files import NotRegularError, check_regular, holds_video, list_folder, open_regular
from cmudrn.image import Picture, read_bytes, read_picture, write_picture
from cmudrn.image.preview import picture_size, thumbnail
from cmudrn.models.model_file import read_model_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, modes and links of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def photo(path: Path, private: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(Picture(np.full((24, 32, 3), 120, np.uint8)), path)
    path.chmod(0o600 if private else 0o644)
    return path


def run(*words: str | Path, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cmudrn", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def probe_clip(path: Path) -> None:
    pytest.importorskip("av", reason="the extra video is not installed")
    from cmudrn.video.decode import probe

    probe(path)


def read_in_batch(path: Path) -> None:
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    from cmudrn.cluster.files import open_folder, read_whole

    files, folder = open_folder(str(path.parent))
    read_whole(files, f"{folder}/{path.name}", 1000, path.name)


READERS: dict[str, Callable[[Path], object]] = {
    "open_regular": open_regular,
    "check_regular": check_regular,
    "read_picture": read_picture,
    "read_bytes": read_bytes,
    "picture_size": picture_size,
    "thumbnail": lambda path: thumbnail(path, 8),
    "read_model_file": read_model_file,
    "probe": probe_clip,
    "batch": read_in_batch,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_no_reader_waits_or_reads_without_end(reader: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)  # nobody writes into it
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises((CmudrnError, NotRegularError), match=r"not a (regular )?file") as caught:
        READERS[reader](path)
    assert "\n" not in str(caught.value)
    assert not holds_video(path)


def test_pipes_do_not_stop_a_folder_run(darkening_model: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    for name in ("b.png", "c.mp4", "d.txt"):
        os.mkfifo(tmp_path / "in" / name)
    ran = run("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", darkening_model)
    assert ran.returncode == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    assert "b.png is not a file." in ran.stderr and "c.mp4" in ran.stderr
    # A file without a known suffix is looked into, to see whether it is video.
    assert run("restore", tmp_path / "in" / "d.txt", "-o", f"{tmp_path}/o/").returncode == 1


def test_links_out_of_a_folder_are_not_followed(darkening_model: Path, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "own.png")
    photo(tmp_path / "elsewhere" / "secret.png")
    (tmp_path / "in" / "inside.png").symlink_to("own.png")
    (tmp_path / "in" / "outside.png").symlink_to("../elsewhere/secret.png")
    (tmp_path / "in" / "all").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    folder, out = tmp_path / "in", tmp_path / "out"
    assert [path.name for path in list_folder(folder).images] == ["inside.png", "own.png"]
    ran = run("restore", folder, "-o", out, "--model", darkening_model)
    assert ran.stderr.count("not followed") == 2
    assert sorted(path.name for path in out.rglob("*.png")) == ["inside.png", "own.png"]
    # Pictures of a dataset go by their numbers: one that is left out would shift all others.
    rendering = Rendering(folder, tmp_path / "rainy", "rain", "light-rain")
    with pytest.raises(CmudrnError, match=r"outside\.png is a link out of the folder"):
        render_folder(rendering)
    assert not (tmp_path / "rainy").exists()


def test_a_batch_follows_no_links_out_of_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    from cmudrn.cluster.job import list_tasks

    photo(tmp_path / "in" / "own.png")
    photo(tmp_path / "elsewhere" / "secret.png")
    (tmp_path / "in" / "outside.png").symlink_to("../elsewhere/secret.png")
    (tmp_path / "in" / "all").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    tasks = list_tasks(str(tmp_path / "in"), str(tmp_path / "out"))
    assert [task.name for task in tasks] == ["own.png"]


def test_results_of_private_photos_are_private(darkening_model: Path, tmp_path: Path) -> None:
    source, out = photo(tmp_path / "in" / "a.png", private=True), tmp_path / "out"
    options = ("--model", darkening_model, "--layers", "--evidence")
    assert run("restore", source.parent, "-o", out, *options).returncode == 0
    made = [path for path in out.rglob("*") if path.is_file()]
    assert len(made) == 5
    assert {mode(path) for path in made} == {0o600}


def test_weather_over_private_photos_is_private(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png", private=True)
    render_folder(Rendering(tmp_path / "in", tmp_path / "rainy", "rain", "light-rain"))
    made = list((tmp_path / "rainy").rglob("*.tif"))
    assert len(made) == 3
    assert {mode(path) for path in made} == {0o600}


def test_results_of_private_clips_are_private(identity_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra video is not installed")
    from support import clips

    import cmudrn
    from cmudrn.restoration import RestoreSettings
    from cmudrn.video.restore_clip import restore_clip
    from cmudrn.video.settings import ClipSettings

    source = clips.make_clip(tmp_path / "a.mkv", [512 * n for n in range(3)], extras=False)
    source.chmod(0o600)
    restorer = cmudrn.load(identity_model, threads=1)
    settings = ClipSettings(RestoreSettings(layers=True), overwrite=True)
    out, kept = tmp_path / "out", tmp_path / "kept.mkv"
    out.mkdir()
    kept.write_bytes(b"")
    (out / "b.mkv").symlink_to(kept)
    seen: list[int] = []

    def look(*_: int) -> None:
        (segments,) = (path for path in out.iterdir() if path.name.endswith(".segments"))
        seen.append(mode(segments))

    restore_clip(restorer, source, out / "b.mkv", settings, look)
    assert set(seen) == {0o700}
    assert {mode(path) for path in out.iterdir()} == {0o600}
    assert (out / "b.mkv").is_symlink() and kept.stat().st_size > 0


def test_results_of_a_private_batch_are_private(darkening_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    from cmudrn.cluster.ledger import Task
    from cmudrn.cluster.worker import JobSettings, Worker

    photo(tmp_path / "in" / "a.png", private=True)
    model, settings = darkening_model.read_bytes(), JobSettings("0" * 64)
    worker = Worker(str(tmp_path / "in"), str(tmp_path / "out"), model, settings)
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert mode(tmp_path / "out" / "a.png") == 0o600
