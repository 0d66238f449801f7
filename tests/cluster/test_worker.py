"""One worker and its ledger, on a file system in memory: no Ray, no cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

fsspec = pytest.importorskip("fsspec", reason="the cluster extra is not installed")

import cmudrn  # noqa: E402
from cmudrn.cluster.files import open_folder, write_whole  # noqa: E402
from cmudrn.cluster.ledger import FOLDER, Ledger, Task  # noqa: E402
from cmudrn.cluster.work import Settings, Worker  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.image import Picture, encode_picture, read_picture  # noqa: E402

SETTINGS = Settings("0" * 64)


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def worker(memory, darkening_model: Path) -> Worker:
    model = darkening_model.read_bytes()
    return Worker("memory://in", "memory://out", model, SETTINGS, tries=3, retry_seconds=0)


def put(memory, name: str, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(100, 255, (20, 30, 3), dtype=np.uint8)
    memory.pipe_file(f"/in/{name}", encode_picture(Picture(pixels, format="png")))
    return pixels


def test_a_file_is_restored_once(memory, worker: Worker, darkening_model: Path) -> None:
    pixels, task = put(memory, "a/ä b.png"), Task("a/ä b.png", "1")
    outcome = worker.restore(task)
    assert (outcome.state, outcome.pixels) == ("done", 600)
    restored = read_picture(memory.cat_file("/out/a/ä b.png")).pixels
    np.testing.assert_array_equal(restored, cmudrn.load(darkening_model)(pixels))
    assert worker.restore(task).state == "already"


def test_the_ledger_knows_source_and_settings(memory, worker: Worker) -> None:
    put(memory, "a.png")
    old, new = Task("a.png", "1"), Task("a.png", "2")
    worker.restore(old)
    ledger = Ledger(memory, "/out", SETTINGS.key)
    assert ledger.done([old, new]) == {old}
    assert Ledger(memory, "/out", Settings("1" * 64).key).done([old]) == set()
    memory.rm_file("/out/a.png")
    assert ledger.done([old]) == set()


def test_a_file_that_no_job_made_is_not_overwritten(memory, worker: Worker) -> None:
    put(memory, "a.png")
    memory.pipe_file("/out/a.png", b"precious")
    outcome = worker.restore(Task("a.png", "1"))
    assert outcome.state == "bad"
    assert "/out/a.png exists already" in outcome.reason and outcome.reason.endswith(".")
    assert memory.cat_file("/out/a.png") == b"precious"
    assert memory.find(f"/out/{FOLDER}") == []


def test_a_file_that_no_job_made_is_overwritten_if_wanted(memory, darkening_model: Path) -> None:
    put(memory, "a.png")
    memory.pipe_file("/out/a.png", b"precious")
    model = darkening_model.read_bytes()
    worker = Worker("memory://in", "memory://out", model, SETTINGS, overwrite=True)
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert read_picture(memory.cat_file("/out/a.png")).pixels.shape == (20, 30, 3)


def test_a_result_is_replaced_when_its_source_changes(
    memory, worker: Worker, darkening_model: Path
) -> None:
    put(memory, "a.png")
    assert worker.restore(Task("a.png", "1")).state == "done"
    pixels = put(memory, "a.png", seed=1)
    assert worker.restore(Task("a.png", "2")).state == "done"
    restored = read_picture(memory.cat_file("/out/a.png")).pixels
    np.testing.assert_array_equal(restored, cmudrn.load(darkening_model)(pixels))


def test_another_sources_result_is_not_overwritten(memory, darkening_model: Path) -> None:
    model = darkening_model.read_bytes()
    put(memory, "a.png")
    memory.pipe_file("/other/a.png", encode_picture(Picture(np.zeros((4, 5, 3), np.uint8))))
    for source, state in (("memory://in", "done"), ("memory://other", "bad")):
        worker = Worker(source, "memory://out", model, SETTINGS)
        assert worker.restore(Task("a.png", source)).state == state


def test_a_worker_killed_just_after_its_result_goes_on(
    memory, worker: Worker, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_a_bad_file_is_an_outcome(memory, worker: Worker, data: bytes) -> None:
    memory.pipe_file("/in/bad.png", data)
    outcome = worker.restore(Task("bad.png", "1"))
    assert outcome.state == "bad"
    assert outcome.reason.startswith("bad.png ") and outcome.reason.endswith(".")
    assert not memory.exists("/out/bad.png")
    assert memory.find(f"/out/{FOLDER}") == []


def test_an_unreachable_file_is_tried_again(
    memory, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")
    read, failures = type(memory).cat_file, [OSError("the network is down")] * 2

    def flaky(self, path: str, *args: object, **options: object) -> bytes:
        if path.endswith("a.png") and failures:
            raise failures.pop()
        return read(self, path, *args, **options)

    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert worker.restore(Task("a.png", "1")).state == "done"
    assert failures == []


def test_a_ledger_that_cannot_be_written_is_an_outcome(
    memory, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "a.png")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ledger, "begin", fail)
    assert worker.restore(Task("a.png", "1")).reason == "a.png: No space left on device."


def test_a_file_that_ends_its_worker_is_given_up(
    memory, worker: Worker, monkeypatch: pytest.MonkeyPatch
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
    with pytest.raises(CmudrnError, match="Cannot open nowhere://x: .*\\.$"):
        open_folder("nowhere://x")


def test_a_start_is_recorded_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
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
