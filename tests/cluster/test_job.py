"""Whole jobs on a local Ray cluster of two workers."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

pytest.importorskip("ray", reason="the cluster extra is not installed")

import ray

import cmudrn
from cmudrn.cli import app
from cmudrn.cli.batch import batch
from cmudrn.cluster.job import FOLDER, Job, Progress, list_tasks, run_job
from cmudrn.cluster.worker import Outcome
from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, read_picture, write_picture
from cmudrn.restoration import RestoreSettings

FILES = 24


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        "local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20,
        log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture
def job(cluster: None, tmp_path: Path, darkening_model: Path) -> Job:
    rng = np.random.default_rng(8)
    for number in range(FILES):
        path = tmp_path / "in" / f"{number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(100, 255, (160, 240, 3), dtype=np.uint8)
        write_picture(Picture(pixels, format="png"), path)
    return Job(str(tmp_path / "in"), str(tmp_path / "out"), str(darkening_model), workers=2)


def results(job: Job) -> dict[str, bytes]:
    folder = Path(job.target)
    found = (path for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def records(job: Job) -> list[dict[str, object]]:
    folder = Path(job.target) / FOLDER / "done"
    return [json.loads(path.read_bytes()) for path in folder.rglob("*.json")]


@pytest.mark.usefixtures("processors_choice")
def test_one_worker_killed_in_mid_job_every_file_done_once(job: Job) -> None:
    seen: list[Outcome] = []
    killed: list[str] = []

    def kill_one(outcome: Outcome, _: Progress) -> None:
        seen.append(outcome)
        if len(seen) == 4 and outcome.worker:
            os.kill(int(outcome.worker.rpartition(":")[2]), signal.SIGKILL)
            killed.append(outcome.worker)

    progress = run_job(job, kill_one)
    assert killed
    assert (progress.done, progress.bad) == (FILES, {})
    assert Counter(outcome.name for outcome in seen).most_common(1)[0][1] == 1
    names = {task.name for task in list_tasks(job.source, job.target)}
    assert set(results(job)) == names == {record["name"] for record in records(job)}
    assert len(records(job)) == FILES
    name = min(names)
    expected = cmudrn.load(job.model)(read_picture(Path(job.source, name)).pixels)
    np.testing.assert_array_equal(read_picture(Path(job.target, name)).pixels, expected)


def test_a_stopped_job_goes_on(job: Job) -> None:
    def stop(_: Outcome, progress: Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    half = {path: Path(job.target, path).stat().st_mtime_ns for path in results(job)}
    assert len(half) >= 5
    progress = run_job(job)
    assert progress.before >= 5 and progress.before + progress.done == FILES
    assert len(results(job)) == len(records(job)) == FILES
    again = run_job(job)
    assert (again.before, again.total) == (FILES, 0)


def test_notes_are_told_and_clips_are_counted(
    job: Job, identity_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(Path(job.source).rglob("*.png"))[2:]:
        path.unlink()
    Pillow.new("CMYK", (8, 9)).save(Path(job.source, "print.jpg"))
    for name in ("a.mp4", "0/b.MKV", ".hidden.mp4", "notes.txt"):
        Path(job.source, name).write_bytes(b"")
    batch(job.source, job.target, str(identity_model), workers=1)
    told = capsys.readouterr()
    assert "3 files restored" in told.out and "Clips left out: 2;" in told.out
    notes = [line for line in told.err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: print.jpg: Its CMYK colours were converted to sRGB."]


def test_bad_files_are_listed_and_not_fatal(job: Job) -> None:
    good = sorted(Path(job.source).rglob("*.png"))
    good[3].write_bytes(good[3].read_bytes()[:100])
    good[4].write_bytes(b"")
    progress = run_job(job)
    assert progress.done == FILES - 2
    listed = json.loads((Path(job.target) / FOLDER / "bad.json").read_bytes())
    names = {str(path.relative_to(job.source)) for path in good[3:5]}
    assert set(listed) == set(progress.bad) == names
    assert all(reason.endswith(".") for reason in listed.values())


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with two pictures in ph, ph/sub, and a link to ph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ph" / "sub").mkdir(parents=True)
    for name in ("1.png", "sub/2.png"):
        write_picture(Picture(np.zeros((4, 5, 3), np.uint8)), tmp_path / "ph" / name)
    (tmp_path / "link").symlink_to("ph")
    return tmp_path


@pytest.mark.parametrize(
    "target", ["ph", "ph/", "ph/../ph", "ph/sub/..", "{here}/ph/.", "link", "file://{here}/ph"]
)
def test_the_source_is_no_target_however_it_is_spelled(pictures: Path, target: str) -> None:
    with pytest.raises(CmudrnError, match="has to be another folder"):
        list_tasks("ph", target.format(here=pictures))


@pytest.mark.parametrize("target", ["ph/sub", "link/sub", "ph/../ph/sub"])
def test_a_target_in_the_source_is_left_out(pictures: Path, target: str) -> None:
    assert [task.name for task in list_tasks("ph", target)] == ["1.png"]


@pytest.mark.parametrize("target", [".", "ph/..", "/"])
def test_a_source_in_the_target_is_said_to_be(pictures: Path, target: str) -> None:
    with pytest.raises(CmudrnError, match="ph lies inside the target"):
        list_tasks("ph", target)


@pytest.mark.parametrize("target", ["file", "file/deep"])
def test_a_target_that_is_no_folder_is_said_to_be_before_ray_starts(
    pictures: Path, darkening_model: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (pictures / "file").write_text("precious")
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    with pytest.raises(CmudrnError, match=r"Cannot write to .*file.*: .*\.$"):
        run_job(Job("ph", target, str(darkening_model), workers=1))
    assert (pictures / "file").read_text() == "precious"


@pytest.mark.parametrize(
    "option", ["--quality=500", "--quality=0", "--strength=2", "--stages=0", "--recursions=0"]
)
def test_an_option_out_of_its_range_is_a_wrong_use(pictures: Path, option: str) -> None:
    result = CliRunner().invoke(app, ["batch", "ph", "out", option])
    assert result.exit_code == 2
    assert not (pictures / "out").exists()


def test_impossible_jobs_get_one_sentence(job: Job, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    impossible: tuple[dict[str, Any], ...] = (
        {"source": str(tmp_path / "none")},
        {"source": str(tmp_path / "empty")},
        {"target": job.source},
        {"restore": RestoreSettings(stages=0)},
        {"quality": 500},
        {"model": "none"},
    )
    for wrong in impossible:
        with pytest.raises(CmudrnError, match=r"\.$"):
            run_job(replace(job, **wrong))


def test_a_name_is_no_command_for_a_terminal(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(Path(job.source).rglob("*.png"))[1:]:
        path.unlink()
    Path(job.source, "a\x1b]0;owned\x07\nb.png").write_bytes(b"no picture")
    with pytest.raises(CmudrnError, match="1 of 2 files"):
        batch(job.source, job.target, job.model, workers=1)
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("bad: ")]
    assert len(lines) == 1
    assert "owned" in lines[0]
    assert not {"\x1b", "\x07"} & set(told.err + told.out)


def test_the_time_left_counts_work_alone() -> None:
    progress = Progress(10, workers=2, started=-1e6)  # Ray took eleven days to start
    assert progress.seconds_left is None
    assert str(progress) == "0 of 10 files, 0 bad"
    progress.add(Outcome("a", "done", "", pixels=1_000_000, seconds=3.0))
    progress.add(Outcome("b", "done", "", pixels=1_000_000, seconds=1.0))
    progress.add(Outcome("c", "bad", "c is empty."))
    assert progress.seconds_left == pytest.approx(7 * 2 / 2)
    assert str(progress).endswith("1.00 files/s, 1.00 megapixels/s, 7 s left")
