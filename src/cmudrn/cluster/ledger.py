"""What a batch job has done, kept beside its results so that a killed job can go on.

A finished file is one small object whose name says everything: source, its size and age, and the
settings. Each is written whole, and nothing is ever appended or locked, so it works on a disk and
on an object store, for any number of workers, killed at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cmudrn.cluster.files import write_whole

FOLDER = ".cmudrn-batch"
"""Folder in the target that holds the ledger."""


@dataclass(frozen=True)
class Task:
    """One file of a job.

    Attributes:
        name: path below the source and the target, with forward slashes.
        version: changes when the source does: its size and its age or tag.
    """

    name: str
    version: str


@dataclass
class Ledger:
    """The ledger of one target folder.

    Args:
        files: an fsspec file system.
        target: the target folder on it.
        settings: everything that the results depend on besides the source.
    """

    files: Any
    target: str
    settings: str

    def done(self, tasks: Collection[Task]) -> set[Task]:
        """Return the tasks whose results exist and are recorded: two listings, no reading."""
        recorded = self._listing(f"{self.target}/{FOLDER}/done")
        results = self._listing(self.target)
        return {
            task
            for task in tasks
            if self._path("done", task) in recorded and f"{self.target}/{task.name}" in results
        }

    def is_done(self, task: Task) -> bool:
        """Return whether this task is recorded as done."""
        return bool(self.files.exists(self._path("done", task)))

    def begin(self, task: Task) -> int:
        """Record that a worker starts on a task; return how often that happened before.

        A file that brings its worker down is found again this way, and not tried for ever.
        """
        path = self._path("begun", task)
        try:
            before = int(json.loads(self.files.cat_file(path)))
        except FileNotFoundError:
            before = 0
        except ValueError:  # begun, but the disk lost the number, as a power cut can make it
            before = 1
        self._write(path, before + 1)
        return before

    def finish(self, task: Task, record: dict[str, Any]) -> None:
        """Record that a task's result is complete."""
        self._write(self._path("done", task), {"name": task.name, **record})
        self.forget(task)

    def forget(self, task: Task) -> None:
        """Forget the starts of a task, so that a later job tries it afresh."""
        with suppress(FileNotFoundError):
            self.files.rm_file(self._path("begun", task))

    def write_bad(self, bad: dict[str, str]) -> None:
        """Leave the list of files that failed in this job, name -> sentence."""
        self._write(f"{self.target}/{FOLDER}/bad.json", bad)

    def _path(self, what: str, task: Task) -> str:
        identity = "\0".join((task.name, task.version, self.settings))
        digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
        return f"{self.target}/{FOLDER}/{what}/{digest[:2]}/{digest}.json"

    def _write(self, path: str, value: Any) -> None:
        write_whole(self.files, path, json.dumps(value, ensure_ascii=True).encode())

    def _listing(self, folder: str) -> set[str]:
        return set(self.files.find(folder)) if self.files.exists(folder) else set()
