"""`cmudrn watch` on a folder: results and events."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402
from support.exif import exif_of  # noqa: E402

from cmudrn.cli.watch import watch as command  # noqa: E402
from cmudrn.errors import CmudrnError, DeviceError  # noqa: E402
from cmudrn.image import Picture, encode_picture, read_picture, write_picture  # noqa: E402
from cmudrn.live import watcher as live  # noqa: E402
from cmudrn.live.outputs import Tell  # noqa: E402
from cmudrn.live.sources import Arrival, Source  # noqa: E402
from cmudrn.live.statistics import WatchStatistics  # noqa: E402

SECONDS = 30.0
"""After so long a test gives up."""


def picture(brightness: int, size: int = 20) -> Picture:
    return Picture(np.full((size, size + 10, 3), brightness, np.uint8))


class Scene:
    """Runs the command on the folder `in` while something happens, until a condition holds."""

    def __init__(self, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.source, self.output = folder / "in", folder / "out"
        self.source.mkdir()
        self._model, self._capsys = model, capsys
        self.words: list[str] = []
        self.statistics = WatchStatistics()

    def run(
        self,
        happens: Callable[[], None],
        until: Callable[[], bool],
        monkeypatch: pytest.MonkeyPatch,
        output: Path | None = None,
        **options: Any,
    ) -> str:
        """Return what was told."""
        run, failures = live.watch, []

        def act() -> None:
            try:
                happens()
            except BaseException as error:
                failures.append(error)

        def watched(
            source: Source,
            restore: live.RestoreFrame,
            show: live.ShowFrame,
            tell: Tell,
            settings: live.WatchSettings,
        ) -> WatchStatistics:
            def tell_and_note(word: str, sentence: str) -> None:
                self.words.append(word)
                tell(word, sentence)

            thread = threading.Thread(target=act)
            thread.start()
            limited = replace(settings, seconds=SECONDS)
            self.statistics = run(
                source, restore, show, tell_and_note, limited,
                stop=lambda: bool(failures) or until(),
            )  # fmt: skip
            thread.join()
            return self.statistics

        with monkeypatch.context() as patch:
            patch.setattr(live, "watch", watched)
            settings = {"waiting": 99, "threads": 1, **options}
            command(
                str(self.source), str(output or self.output), model=str(self._model), **settings
            )
        assert not failures, failures
        assert until(), "what was waited for did not happen"
        return self._capsys.readouterr().err

    def results(self) -> set[str]:
        """Return the names of the results."""
        return {
            path.relative_to(self.output).as_posix()
            for path in self.output.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def scene(tmp_path: Path, darkening_model: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    return Scene(tmp_path, darkening_model, capsys)


@pytest.mark.parametrize("existing", [False, True])
def test_what_came_while_no_watcher_ran_is_restored_if_wanted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    scene.output.mkdir()
    (scene.output / "done.png").write_bytes(b"precious")
    for name in ("done.png", "old.png"):
        write_picture(picture(200), scene.source / name)

    def put() -> None:
        write_picture(picture(200), scene.source / "new.png")

    wanted = {"done.png", "new.png"} | ({"old.png"} if existing else set())
    scene.run(put, lambda: scene.results() >= wanted, monkeypatch, existing=existing)
    assert scene.results() == wanted
    assert (scene.output / "done.png").read_bytes() == b"precious"
    assert scene.statistics.refused == 0


def test_a_file_that_was_there_is_not_overwritten(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.output.mkdir()
    (scene.output / "1.png").write_bytes(b"precious")

    def put() -> None:
        write_picture(picture(200), scene.source / "1.png")
        write_picture(picture(200), scene.source / "2.png")

    told = scene.run(put, lambda: (scene.output / "2.png").exists(), monkeypatch)
    assert (scene.output / "1.png").read_bytes() == b"precious"
    assert told.count("REFUSED") == 1 and "1.png exists already" in told
    assert (scene.statistics.refused, scene.statistics.restored) == (1, 1)


def test_each_finished_image_is_told_and_an_idle_folder_is_not_stale(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put() -> None:
        time.sleep(0.5)  # ten times what makes a stream stale
        write_picture(picture(200), scene.source / "1.png")

    told = scene.run(put, (scene.output / "1.png").exists, monkeypatch, stale=0.05)
    assert f"DONE: 1.png -> {scene.output / '1.png'}\n" in told
    assert "STALE" not in told and scene.statistics.stalls == 0


def test_a_file_that_was_there_is_overwritten_if_wanted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.output.mkdir()
    target = scene.output / "1.png"
    target.write_bytes(b"precious")
    scene.run(
        lambda: write_picture(picture(200), scene.source / "1.png"),
        lambda: target.read_bytes() != b"precious",
        monkeypatch,
        overwrite=True,
    )
    assert read_picture(target).pixels.shape == (20, 30, 3)


def test_a_picture_written_with_pauses_and_one_that_changes_arrive(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode_picture(picture(200), "png")
    result = scene.output / "slow.png"

    def put() -> None:
        with open(scene.source / "slow.png", "wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(1)
            file.write(data[len(data) // 2 :])
        wait(result.exists)
        write_picture(picture(100), scene.source / "slow.png")

    def is_dark() -> bool:
        return result.exists() and bool(read_picture(result).pixels.mean() < 100)

    scene.run(put, is_dark, monkeypatch)
    assert (scene.statistics.restored, scene.statistics.bad) == (2, 0)


def test_files_that_stay_unreadable_are_told_once_and_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips.make_clip(scene.source.parent / "clip.mp4", [0, 512], extras=False)
    repaired = encode_picture(picture(200), "png")

    def put() -> None:
        (scene.source / "bad.png").write_bytes(b"no picture")
        (scene.source / "empty.png").touch()
        shutil.copy(scene.source.parent / "clip.mp4", scene.source)
        wait(lambda: scene.words.count("BAD") == 3)
        (scene.source / "bad.png").write_bytes(repaired)

    told = scene.run(put, lambda: (scene.output / "bad.png").exists(), monkeypatch)
    bad = [line for line in told.splitlines() if line.startswith("BAD: ")]
    assert len(bad) == 3 and all(line.endswith(".") for line in bad)
    for name in ("bad.png", "empty.png", "clip.mp4"):
        assert sum(f"in/{name}" in line for line in bad) == 1
    assert (scene.statistics.bad, scene.statistics.restored) == (3, 1)


def test_the_tree_is_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def put() -> None:
        for name, size in (("a/1.png", 20), ("b/c/1.png", 30)):
            (scene.source / name).parent.mkdir(parents=True)
            write_picture(picture(200, size), scene.source / name)

    scene.run(put, lambda: len(scene.results()) == 2, monkeypatch)
    assert scene.results() == {"a/1.png", "b/c/1.png"}
    assert read_picture(scene.output / "a/1.png").pixels.shape == (20, 30, 3)
    assert read_picture(scene.output / "b/c/1.png").pixels.shape == (30, 40, 3)


@pytest.mark.parametrize("output", ["out", "now.png", "deep/now.png"])
def test_results_in_the_watched_folder_are_not_watched(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (scene.source / "deep").mkdir()
    names = record_names(monkeypatch)

    def put() -> None:
        write_picture(picture(200), scene.source / "1.png")
        wait(lambda: (scene.source / output).exists())
        time.sleep(1)  # time enough to be taken for a new picture
        write_picture(picture(200), scene.source / "last.png")

    scene.run(put, lambda: "last.png" in names, monkeypatch, output=scene.source / output)
    assert names == ["1.png", "last.png"]


def record_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every picture that is restored."""
    names: list[str] = []
    restore_one = live._Watch._restore_one

    def record(self: live._Watch, arrival: Arrival) -> None:
        restore_one(self, arrival)
        names.append(arrival.name)

    monkeypatch.setattr(live._Watch, "_restore_one", record)
    return names


def test_pictures_of_a_folder_that_was_made_again_arrive(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put() -> None:
        write_picture(picture(200), scene.source / "1.png")
        wait(lambda: (scene.output / "1.png").exists())
        shutil.rmtree(scene.source)
        wait(lambda: "LOST" in scene.words)
        scene.source.mkdir()
        write_picture(picture(100), scene.source / "2.png")
        write_picture(picture(100), scene.source / "1.png")

    names = record_names(monkeypatch)
    scene.run(put, lambda: len(names) == 3, monkeypatch)
    assert names[0] == "1.png" and set(names[1:]) == {"1.png", "2.png"}
    assert read_picture(scene.output / "1.png").pixels.mean() < 100


def test_what_comes_back_with_a_lost_folder_does_not_arrive_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(picture(200), scene.source / "old.png")

    def move() -> None:
        scene.source.rename(scene.source.with_name("away"))
        wait(lambda: "LOST" in scene.words)
        write_picture(picture(100), scene.source.with_name("away") / "new.png")
        scene.source.with_name("away").rename(scene.source)

    names = record_names(monkeypatch)
    scene.run(move, lambda: bool(names), monkeypatch)
    assert names == ["new.png"]


def test_what_a_picture_holds_beside_its_colours_is_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    alpha = rng.integers(0, 255, (20, 30), dtype=np.uint8)
    metadata = {"exif-data": exif_of("someone")}
    see_through = replace(picture(200), alpha=alpha, metadata=metadata)
    grey = Picture(np.full((20, 30), 200, np.uint8))

    def put() -> None:
        write_picture(see_through, scene.source / "alpha.png")
        write_picture(grey, scene.source / "grey.png")

    scene.run(put, lambda: len(scene.results()) == 2, monkeypatch)
    restored = read_picture(scene.output / "alpha.png")
    np.testing.assert_array_equal(restored.alpha, alpha)
    assert restored.metadata["exif-data"] == exif_of("someone")
    assert read_picture(scene.output / "grey.png").pixels.shape == (20, 30)


def test_what_a_result_cannot_hold_is_told_and_does_not_end_the_watch(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = np.full((20, 30), 100, np.uint8)
    now = scene.source.parent / "now.jpg"

    def put() -> None:
        write_picture(replace(picture(200), alpha=alpha), scene.source / "alpha.png")
        wait(lambda: "REFUSED" in scene.words)
        deep = Picture(np.full((20, 30, 3), 40_000, np.uint16))
        write_picture(deep, scene.source / "deep.png")

    told = scene.run(put, now.exists, monkeypatch, output=now)
    assert f"REFUSED: {scene.source}/alpha.png: JPEG cannot hold transparency" in told
    assert "NOTE: deep.png: JPEG holds 8 bits" in told


def test_a_recording_of_a_folder_is_refused(scene: Scene) -> None:
    record = scene.source.parent / "seen.mkv"
    with pytest.raises(typer.BadParameter, match=r"A recording is made of a stream.*\.$"):
        command(str(scene.source), str(scene.output), record, seconds=0.0)
    assert not record.exists() and not scene.output.exists()


def test_a_file_that_is_no_video_ends_the_watch(tmp_path: Path, darkening_model: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"no video" * 100)
    with pytest.raises(CmudrnError, match=r"junk.mp4: .*\.$"):
        command(str(junk), str(tmp_path / "now.jpg"), model=str(darkening_model), seconds=SECONDS)


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DeviceError, match="no device 'migraphx'; it has cpu"):
        command(str(tmp_path / "in"), str(tmp_path / "out"), device="migraphx")
