"""What a batch job has done, kept beside its results so that a killed job can go on.

A finished file is one small object whose name says everything: source, its size and age, the
settings, and the size and age of the result. So a result that was replaced since, by another job
or by anybody, is not taken for this one, and no result need be read to know it. Before a result is
put in its place, another such object says which bytes will be there: so a file that no job made is
told from a result. Each is written whole, and nothing is ever appended or locked, so it works on a
disk and on an object store, for any number of workers, killed at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cmudrn.cluster.files import sentence, write_whole
from cmudrn.errors import CmudrnError

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


@dataclass(frozen=True)
class ResultRecord:
    """What the ledger keeps of a result.

    Attributes:
        sha256: of the result.
        worker: host and process that made it.
        seconds: the work took.
    """

    sha256: str
    worker: str
    seconds: float


def version(entry: Mapping[str, object]) -> str:
    """Return what changes when a file does: its size and its age or tag.

    Args:
        entry: what an fsspec file system says about the file.
    """
    ages = (entry.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created"))
    age = next((age for age in ages if age is not None), "")
    if isinstance(age, datetime):  # some file systems list numbers and tags without quotes,
        age = age.timestamp()  # but give dates and quoted tags of a single file
    return f"{entry.get('size')} {str(age).strip(chr(34))}"


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

    def open(self) -> None:
        """See that the target can be written, by leaving the settings of this job there.

        Raises:
            CmudrnError: it cannot.
        """
        try:
            self._write(f"{self.target}/{FOLDER}/settings.json", {"settings": self.settings})
        except (OSError, ValueError) as error:
            raise CmudrnError(f"Cannot write to {self.target}: {sentence(error)}.") from error

    def done(self, tasks: Collection[Task]) -> set[Task]:
        """Return the tasks whose results are there as recorded: two listings, no reading."""
        recorded = self._listing(f"{self.target}/{FOLDER}/done")
        results = self._listing(self.target)
        return {
            task
            for task in tasks
            if (entry := results.get(f"{self.target}/{task.name}"))
            and self._done(task, entry) in recorded
        }

    def is_done(self, task: Task) -> bool:
        """Return whether this task's result is there as recorded."""
        try:
            entry = self.files.info(f"{self.target}/{task.name}")
        except FileNotFoundError:
            return False
        return bool(self.files.exists(self._done(task, entry)))

    def begin(self, task: Task) -> int:
        """Record that a worker starts on a task; return how often that happened before.

        A file that brings its worker down is found again this way, and not tried for ever.
        """
        path = self._begun(task)
        try:
            before = int(json.loads(self.files.cat_file(path)))
        except FileNotFoundError:
            before = 0
        except ValueError:  # begun, but the disk lost the number, as a power cut can make it
            before = 1
        self._write(path, before + 1)
        return before

    def finish(self, task: Task, record: ResultRecord) -> None:
        """Record that a task's result is in its place."""
        entry = self.files.info(f"{self.target}/{task.name}")
        self._write(self._done(task, entry), {"name": task.name, **asdict(record)})
        self.forget(task)

    def forget(self, task: Task) -> None:
        """Forget the starts of a task, so that a later job tries it afresh."""
        with suppress(FileNotFoundError):
            self.files.rm_file(self._begun(task))

    def make(self, source: str, sha256: str) -> None:
        """Record that a result with these bytes is about to be put in its place.

        Written before the result, so that a worker killed between the two leaves nothing that a
        later one takes for somebody else's.
        """
        self._write(self._made(source, sha256), {"source": source, "sha256": sha256})

    def made(self, source: str, sha256: str) -> bool:
        """Return whether these bytes are a result that a job made from this source."""
        return bool(self.files.exists(self._made(source, sha256)))

    def write_bad(self, bad: dict[str, str]) -> None:
        """Leave the list of files that failed in this job, name -> sentence."""
        self._write(f"{self.target}/{FOLDER}/bad.json", bad)

    def _begun(self, task: Task) -> str:
        return self._entry("begun", task.name, task.version, self.settings)

    def _done(self, task: Task, result: dict[str, Any]) -> str:
        return self._entry("done", task.name, task.version, self.settings, version(result))

    def _made(self, source: str, sha256: str) -> str:
        return self._entry("made", source, sha256)

    def _entry(self, what: str, *identity: str) -> str:
        text = "\0".join(identity)
        digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
        return f"{self.target}/{FOLDER}/{what}/{digest[:2]}/{digest}.json"

    def _write(self, path: str, value: Any) -> None:
        write_whole(self.files, path, json.dumps(value, ensure_ascii=True).encode())

    def _listing(self, folder: str) -> dict[str, dict[str, Any]]:
        return dict(self.files.find(folder, detail=True)) if self.files.exists(folder) else {}
