"""One worker and its ledger, on a file system in memory: no Ray, no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("fsspec", reason="the cluster extra is not installed")

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

import cmudrn
from cmudrn.cluster.files import open_folder, write_whole
from cmudrn.cluster.ledger import FOLDER, Ledger, Task
from cmudrn.cluster.worker import JobSettings, Worker
from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.restoration import RestoreSettings

SETTINGS = JobSettings("0" * 64)


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def worker(memory: MemoryFileSystem, darkening_model: Path) -> Worker:
    model = darkening_model.read_bytes()
    return Worker("memory://in", "memory://out", model, SETTINGS, tries=3, retry_seconds=0)


def put(memory: MemoryFileSystem, name: str, seed: int = 0) -> NDArray[np.uint8]:
    pixels = np.random.default_rng(seed).integers(100, 255, (20, 30, 3), dtype=np.uint8)
    memory.pipe_file(f"/in/{name}", encode_picture(Picture(pixels, format="png")))
    return pixels


def test_a_file_is_restored_once(
    memory: MemoryFileSystem, worker: Worker, darkening_model: Path
) -> None:
    pixels, task = put(memory, "a/ä b.png"), Task("a/ä b.png", "1")
    outcome = worker.restore(task)
    assert (outcome.state, outcome.pixels) == ("done", 600)
    restored = read_picture(memory.cat_file("/out/a/ä b.png")).pixels
    np.testing.assert_array_equal(restored, cmudrn.load(darkening_model)(pixels))
    assert worker.restore(task).state == "already"


def test_a_card_that_a_machine_lacks_is_told(
    memory: MemoryFileSystem, darkening_model: Path
) -> None:
    put(memory, "a.png")
    model, settings = darkening_model.read_bytes(), replace(SETTINGS, device="directml")
    worker = Worker("memory://in", "memory://out", model, settings)
    outcome = worker.restore(Task("a.png", "1"))
    assert outcome.state == "bad" and "no device 'directml'" in outcome.reason
    assert settings.key != SETTINGS.key


@pytest.mark.parametrize("name", [field.name for field in fields(RestoreSettings)])
def test_every_setting_has_a_ledger_of_its_own(name: str) -> None:
    others: dict[str, Any] = {"strength": 0.5, "stages": 2, "recursions": 2}
    other = others.get(name, True)
    changed = replace(SETTINGS, restore=replace(SETTINGS.restore, **{name: other}))
    assert changed.key != SETTINGS.key


def test_the_ledger_knows_source_and_settings(memory: MemoryFileSystem, worker: Worker) -> None:
    put(memory, "a.png")
    old, new = Task("a.png", "1"), Task("a.png", "2")
    worker.restore(old)
    ledger = Ledger(memory, "/out", SETTINGS.key)
    assert ledger.done([old, new]) == {old}
    assert Ledger(memory, "/out", JobSettings("1" * 64).key).done([old]) == set()
    memory.rm_file("/out/a.png")
    assert ledger.done([old]) == set()


def test_the_key_of_a_ledger_from_before_haze_was_taken_off_by_itself_means_that_it_stays() -> None:
    keys = [JobSettings("0", RestoreSettings(dehazing=haze)).key for haze in (False, None, True)]
    assert len(set(keys)) == 3 and "dehaz" not in keys[0]


def test_only_the_settings_of_the_result_that_is_there_are_done(
    memory: MemoryFileSystem, worker: Worker, darkening_model: Path
) -> None:
    model, halved = darkening_model.read_bytes(), JobSettings("0" * 64, RestoreSettings(0.5))
    other = Worker("memory://in", "memory://out", model, halved)
    put(memory, "a.png")
    task = Task("a.png", "1")
    first, second = worker.restore(task), memory.cat_file("/out/a.png")
    assert other.restore(task).state == first.state == "done"
    assert memory.cat_file("/out/a.png") != second
    assert Ledger(memory, "/out", SETTINGS.key).done([task]) == set()
    assert worker.restore(task).state == "done"
    assert memory.cat_file("/out/a.png") == second
    assert worker.restore(task).state == "already"
    assert Ledger(memory, "/out", halved.key).done([task]) == set()


def test_a_source_that_is_what_it_was_before_is_restored_again(
    memory: MemoryFileSystem, worker: Worker
) -> None:
    put(memory, "a.png")
    assert worker.restore(Task("a.png", "1")).state == "done"
    first = memory.cat_file("/out/a.png")
    put(memory, "a.png", seed=1)
    assert worker.restore(Task("a.png", "2")).state == "done"
    put(memory, "a.png")
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert memory.cat_file("/out/a.png") == first


def test_a_file_put_in_a_results_place_is_no_result(
    memory: MemoryFileSystem, worker: Worker, darkening_model: Path
) -> None:
    put(memory, "a.png")
    task = Task("a.png", "1")
    worker.restore(task)
    result = memory.cat_file("/out/a.png")
    memory.pipe_file("/out/a.png", bytes(len(result)))
    assert Ledger(memory, "/out", SETTINGS.key).done([task]) == set()
    assert "/out/a.png exists already" in worker.restore(task).reason
    assert memory.cat_file("/out/a.png") == bytes(len(result))
    model = darkening_model.read_bytes()
    replacing = Worker("memory://in", "memory://out", model, SETTINGS, overwrite=True)
    assert replacing.restore(task).state == "done"
    assert memory.cat_file("/out/a.png") == result


def test_results_on_a_disk_are_known_by_their_listing(
    tmp_path: Path, darkening_model: Path
) -> None:
    (tmp_path / "in").mkdir()
    data = encode_picture(Picture(np.full((4, 5, 3), 200, np.uint8), format="png"))
    (tmp_path / "in" / "a.png").write_bytes(data)
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    task = Task("a.png", "1")
    assert Worker(source, target, darkening_model.read_bytes(), SETTINGS).restore(task).state == (
        "done"
    )
    ledger = Ledger(*open_folder(target), SETTINGS.key)
    assert ledger.done([task]) == {task} and ledger.is_done(task)
    (tmp_path / "out" / "a.png").write_bytes(data)
    assert ledger.done([task]) == set() and not ledger.is_done(task)


def test_a_file_that_no_job_made_is_not_overwritten(
    memory: MemoryFileSystem, worker: Worker
) -> None:
    put(memory, "a.png")
    memory.pipe_file("/out/a.png", b"precious")
    outcome = worker.restore(Task("a.png", "1"))
    assert outcome.state == "bad"
    assert "/out/a.png exists already" in outcome.reason and outcome.reason.endswith(".")
    assert memory.cat_file("/out/a.png") == b"precious"
    assert memory.find(f"/out/{FOLDER}") == []


def test_a_file_that_no_job_made_is_overwritten_if_wanted(
    memory: MemoryFileSystem, darkening_model: Path
) -> None:
    put(memory, "a.png")
    memory.pipe_file("/out/a.png", b"precious")
    model = darkening_model.read_bytes()
    worker = Worker("memory://in", "memory://out", model, SETTINGS, overwrite=True)
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert read_picture(memory.cat_file("/out/a.png")).pixels.shape == (20, 30, 3)


def test_a_result_is_replaced_when_its_source_changes(
    memory: MemoryFileSystem, worker: Worker, darkening_model: Path
) -> None:
    put(memory, "a.png")
    assert worker.restore(Task("a.png", "1")).state == "done"
    pixels = put(memory, "a.png", seed=1)
    assert worker.restore(Task("a.png", "2")).state == "done"
    restored = read_picture(memory.cat_file("/out/a.png")).pixels
    np.testing.assert_array_equal(restored, cmudrn.load(darkening_model)(pixels))


def test_another_sources_result_is_not_overwritten(
    memory: MemoryFileSystem, darkening_model: Path
) -> None:
    model = darkening_model.read_bytes()
    put(memory, "a.png")
    memory.pipe_file("/other/a.png", encode_picture(Picture(np.zeros((4, 5, 3), np.uint8))))
    for source, state in (("memory://in", "done"), ("memory://other", "bad")):
        worker = Worker(source, "memory://out", model, SETTINGS)
        assert worker.restore(Task("a.png", source)).state == state


def test_a_worker_killed_just_after_its_result_goes_on(
    memory: MemoryFileSystem, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")
    task = Task("a.png", "1")

    def die(*_: object) -> None:
        raise SystemExit  # the result is there, the ledger does not say so

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", die)
        with pytest.raises(SystemExit):
            worker.restore(task)
    assert memory.exists("/out/a.png")
    assert worker.restore(task).state == "done"


def test_what_a_result_cannot_keep_is_told(memory: MemoryFileSystem, identity_model: Path) -> None:
    model = identity_model.read_bytes()
    worker = Worker("memory://in", "memory://out", model, SETTINGS, tries=3, retry_seconds=0)
    profile = {"icc-profile-data": b"no profile"}
    picture = Picture(np.full((4, 5, 3), 200, np.uint8), format="png")
    memory.pipe_file("/in/plain.png", encode_picture(picture))
    assert worker.restore(Task("plain.png", "1")).notes == ""
    with pytest.MonkeyPatch.context() as patch:

        def with_profile(data: bytes, **options: Any) -> Picture:
            picture = read_picture(data, **options)
            return replace(picture, metadata=profile, notes=("One frame of 2.",))

        patch.setattr("cmudrn.cluster.worker.read_picture", with_profile)
        memory.pipe_file("/in/a.png", encode_picture(picture))
        notes = worker.restore(Task("a.png", "1")).notes
    assert notes.startswith("One frame of 2. ") and "colour profile" in notes


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_bad_file_is_an_outcome(memory: MemoryFileSystem, worker: Worker, data: bytes) -> None:
    memory.pipe_file("/in/bad.png", data)
    outcome = worker.restore(Task("bad.png", "1"))
    assert outcome.state == "bad"
    assert outcome.reason.startswith("bad.png ") and outcome.reason.endswith(".")
    assert not memory.exists("/out/bad.png")
    assert memory.find(f"/out/{FOLDER}") == []


def test_an_unreachable_file_is_tried_again(
    memory: MemoryFileSystem, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")
    read, failures = type(memory).cat_file, [OSError("the network is down")] * 2

    def flaky(files: MemoryFileSystem, path: str) -> bytes:
        if path.endswith("a.png") and failures:
            raise failures.pop()
        data: bytes = read(files, path)
        return data

    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert failures == []


def test_a_ledger_that_cannot_be_written_is_an_outcome(
    memory: MemoryFileSystem, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ledger, "begin", fail)
    assert worker.restore(Task("a.png", "1")).reason == "a.png: No space left on device."


def test_a_file_that_ends_its_worker_is_given_up(
    memory: MemoryFileSystem, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")
    task = Task("a.png", "1")

    def crash(*_: object) -> None:
        raise SystemExit  # as far as the ledger can see, the process is gone

    monkeypatch.setattr(Worker, "_restore", crash)
    for _ in range(3):
        with pytest.raises(SystemExit):
            worker.restore(task)
    assert "ended 3 times" in worker.restore(task).reason


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, folder = open_folder(str(tmp_path))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CmudrnError, match="No space left"):
        write_whole(files, f"{folder}/deep/a.png", b"data")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_unknown_kinds_of_address_get_one_sentence() -> None:
    with pytest.raises(CmudrnError, match=r"Cannot open nowhere://x: .*\.$"):
        open_folder("nowhere://x")


def test_a_start_is_recorded_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, target = open_folder(str(tmp_path))
    ledger, task = Ledger(files, target, SETTINGS.key), Task("a.png", "1")
    assert ledger.begin(task) == 0

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", die)
        with pytest.raises(KeyboardInterrupt):
            ledger.begin(task)
    assert ledger.begin(task) == 1
    for lost in tmp_path.rglob("*.json"):
        lost.write_bytes(b"")
    assert ledger.begin(task) == 1 and ledger.begin(task) == 2
    ledger.forget(task)
    ledger.forget(task)
    assert ledger.begin(task) == 0
