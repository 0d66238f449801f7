"""A folder restored by Ray workers, on this machine or on a cluster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from cmudrn.cluster.files import is_disk, is_inside, open_folder
from cmudrn.cluster.ledger import FOLDER, Ledger, Task, version
from cmudrn.cluster.ray_session import ray_session
from cmudrn.cluster.worker import JobSettings, Outcome, Worker
from cmudrn.engines import open_engine
from cmudrn.engines.base import available_cores
from cmudrn.errors import CmudrnError, InvalidSettingError
from cmudrn.files import claim_target, file_kind, find_results, is_hidden, list_folder
from cmudrn.models import find_model
from cmudrn.models.model_file import read_model_file
from cmudrn.restoration import RestoreSettings, check_settings

MAX_BLOCKS = 5000
"""Most pieces a job is cut into: each costs Ray some milliseconds."""


@dataclass(frozen=True)
class Job:
    """What to restore, and how.

    Attributes:
        source: folder, as a path or an fsspec address.
        target: folder, as a path or an fsspec address; the tree of the source is kept.
        model: a shipped model's name, or the path of a model file.
        restore: how each picture is restored; layers, score and gate are left out.
        quality: of JPEG, WebP and AVIF; None is the program's own.
        workers: engines at work at once; 0 is one for every core of this machine.
        threads: processor threads of each engine.
        tries: how often a file is tried that cannot be read or written, or ends its worker.
        address: of a Ray cluster; None is this machine alone.
        overwrite: replace files of the target that no job made.
        follow_links: on a disk, also take links to files outside the source.
        device: one of `cmudrn.engines.DEVICES`; every worker opens it for itself.
    """

    source: str
    target: str
    model: str = "cmudrn"
    restore: RestoreSettings = RestoreSettings()  # noqa: RUF009  (frozen)
    quality: int | None = None
    workers: int = 0
    threads: int = 1
    tries: int = 3
    address: str | None = None
    overwrite: bool = False
    follow_links: bool = False
    device: str = "cpu"


@dataclass
class Progress:
    """How far a job is; `seconds_left` and the rates are over the files of this run.

    Attributes:
        total: files to do in this run.
        before: files that an earlier run had done.
        done: files restored.
        clips: video files of the source, which batches leave out.
        passed_over: sentences about links that were not followed, and images that are not read.
        bad: name -> why it was not restored.
        pixels: restored.
        workers: at work at once.
        work_seconds: that the workers took for the files restored, together.
        started: on the monotonic clock, seconds.
    """

    total: int
    before: int = 0
    done: int = 0
    clips: int = 0
    passed_over: tuple[str, ...] = ()
    bad: dict[str, str] = field(default_factory=dict)
    pixels: int = 0
    workers: int = 1
    work_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count one file."""
        if outcome.state == "bad":
            self.bad[outcome.name] = outcome.reason
        else:
            self.done += 1
            self.pixels += outcome.pixels
            self.work_seconds += outcome.seconds

    @property
    def seconds(self) -> float:
        """Since the start of this run, the start of the workers included."""
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the workers' time for a file; None before the first restored file.

        The start of Ray takes longer than many files, and counts for none of them.
        """
        if not self.work_seconds:
            return None
        left = self.total - self.done - len(self.bad)
        return left * self.work_seconds / self.done / self.workers

    def __str__(self) -> str:
        handled = f"{self.done + len(self.bad)} of {self.total} files, {len(self.bad)} bad"
        if self.seconds_left is None:
            return handled
        at_once = self.workers / self.work_seconds
        return (
            f"{handled}, {self.done * at_once:.2f} files/s, "
            f"{self.pixels * at_once / 1e6:.2f} megapixels/s, {self.seconds_left:.0f} s left"
        )


OnOutcome = Callable[[Outcome, Progress], None]


def run_job(job: Job, on_outcome: OnOutcome | None = None) -> Progress:
    """Restore every picture of a folder that is not done yet, and return what came of it.

    A file is done once: its result appears whole, then the ledger says so. A job that was killed
    goes on when it is run again; bad files are listed and tried again by the next run.

    Args:
        job: what to restore.
        on_outcome: called for each file when it is done or known to be bad.

    Raises:
        CmudrnError: the folders, the model or the cluster cannot be used, or another run of this
            user on this machine is at work on the target.
    """
    files, target = open_folder(job.target)
    with claim_target(target) if is_disk(files) else nullcontext():
        return _run_job(job, on_outcome)


def _run_job(job: Job, on_outcome: OnOutcome | None) -> Progress:
    model = read_model_file(find_model(job.model)).data
    settings = _settings(job, model)
    files, target = open_folder(job.target)
    ledger = Ledger(files, target, settings.key)
    found = _look_through(job.source, job.target, job.follow_links)
    tasks = found.tasks
    ledger.open()
    done = ledger.done(tasks)
    left = [task for task in tasks if task not in done]
    workers = max(1, min(job.workers or available_cores() // job.threads, len(left)))
    progress = Progress(len(left), before=len(done), clips=found.clips, workers=workers)
    progress.passed_over = found.passed_over
    for outcome in _outcomes(job, left, model, settings, workers):
        progress.add(outcome)
        if on_outcome:
            on_outcome(outcome, progress)
    ledger.write_bad(progress.bad)
    return progress


def list_tasks(source: str, target: str) -> list[Task]:
    """Return the pictures below the source in order of their names.

    Raises:
        CmudrnError: there is no such folder, it holds no picture, or it is the target itself or
            lies in it.
    """
    return _look_through(source, target).tasks


@dataclass(frozen=True)
class _Found:
    """What lies below a source: pictures, how many clips, and what is said of the rest."""

    tasks: list[Task]
    clips: int
    passed_over: tuple[str, ...] = ()


def _look_through(source: str, target: str, follow_links: bool = False) -> _Found:
    """Return what lies below the source.

    Raises:
        CmudrnError: as `list_tasks` says.
    """
    files, folder = open_folder(source)
    target_files, target_folder = open_folder(target)
    same_system = type(files) is type(target_files)
    if same_system and folder == target_folder:
        raise InvalidSettingError("The target has to be another folder than the source.")
    if same_system and is_inside(folder, target_folder):
        raise InvalidSettingError(
            f"The source {source} lies inside the target; choose another target."
        )
    if not files.isdir(folder):
        raise CmudrnError(f"There is no folder {source}.")
    if is_disk(files):
        found = _look_through_disk(files, folder, target_folder, follow_links)
    else:
        found = _look_through_store(files, folder, target_folder if same_system else None)
    if not found.tasks:
        raise CmudrnError(f"There is no picture in {source}.")
    return found


def _look_through_disk(files: Any, folder: str, target: str, follow_links: bool) -> _Found:
    listing = list_folder(folder, skip=[target], follow_links=follow_links, results=False)
    tasks = [
        Task(path.relative_to(folder).as_posix(), version(files.info(str(path))))
        for path in listing.images
    ]
    passed_over = (*listing.passed_over, *listing.unreadable)
    return _Found(tasks, len(listing.clips), tuple(map(str, passed_over)))


def _look_through_store(files: Any, folder: str, target: str | None) -> _Found:
    tasks, clips, passed_over = [], 0, []
    for path, entry in sorted(files.find(folder, detail=True).items()):
        if target is not None and is_inside(path, target):
            continue
        name = path[len(folder) :].lstrip("/")
        kind = None if is_hidden(name) else file_kind(name)
        if kind == "image":
            tasks.append(Task(name, version(entry)))
        elif kind == "unsupported":
            passed_over.append(f"{name} is passed over: such files are not read.")
        clips += kind == "clip"
    made = find_results(PurePosixPath(task.name) for task in tasks)
    passed_over += [
        f"{path} is passed over: it is a result of {source.name}." for path, source in made.items()
    ]
    left = [task for task in tasks if PurePosixPath(task.name) not in made]
    return _Found(left, clips, tuple(passed_over))


def _settings(job: Job, model: bytes) -> JobSettings:
    if job.quality is not None and not 1 <= job.quality <= 100:
        raise InvalidSettingError(
            f"A quality runs from 1 to 100; it is {job.quality}.",
            setting="quality",
            value=job.quality,
        )
    here = job.device if job.address is None else "cpu"  # a cluster's cards are elsewhere
    info = open_engine(job.model, threads=1, device=here).info
    check_settings(info, job.restore)
    return JobSettings(hashlib.sha256(model).hexdigest(), job.restore, job.quality, job.device)


class _RayWorker:
    def __init__(self, options: dict[str, Any]) -> None:
        self._worker = Worker(**options)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return asdict(self._worker.restore(Task(row["name"], row["version"])))


def _outcomes(
    job: Job, tasks: list[Task], model: bytes, settings: JobSettings, workers: int
) -> Iterator[Outcome]:
    if not tasks:
        return
    options = {
        "source": job.source,
        "target": job.target,
        "model": model,
        "settings": settings,
        "tries": job.tries,
        "threads": job.threads,
        "overwrite": job.overwrite,
    }
    with ray_session(job.address, workers * job.threads):
        import ray.data  # noqa: PLC0415  (it reads an environment that the session has set)

        rows = ray.data.from_items(
            [asdict(task) for task in tasks], override_num_blocks=min(len(tasks), MAX_BLOCKS)
        )
        outcomes = rows.map(
            _RayWorker,
            fn_constructor_args=(options,),
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            num_cpus=job.threads,
        )
        for row in outcomes.iter_rows():
            yield Outcome(**row)


__all__ = ["FOLDER", "Job", "Progress", "list_tasks", "run_job"]
