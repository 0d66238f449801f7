"""What one worker does with one file: read, restore, write whole, record."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from cmudrn.cluster.files import open_folder, sentence, write_whole
from cmudrn.cluster.ledger import Ledger, Task
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.image import MAX_PIXELS, encode_picture, read_picture, unsupported_features
from cmudrn.restoration import Restorer


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on besides its source.

    Attributes:
        model_sha256: hash of the model file.
        strength: 0 to 1.
        stages: T; None is the model's own.
        recursions: S; None is the model's own.
        quality: of JPEG and WebP; None is the program's own.
    """

    model_sha256: str
    strength: float = 1.0
    stages: int | None = None
    recursions: int | None = None
    quality: int | None = None

    @property
    def key(self) -> str:
        """The settings as one line, for the ledger."""
        return repr(sorted(asdict(self).items()))


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: path below the source.
        state: "done", "already" (done before) or "bad".
        reason: one sentence for a bad file.
        notes: sentences about what the result could not keep of its picture.
        pixels: width times height.
        seconds: the work took.
        worker: host and process.
    """

    name: str
    state: str
    reason: str = ""
    pixels: int = 0
    seconds: float = 0.0
    worker: str = ""
    notes: str = ""


class Worker:
    """Restores files with its own engine.

    Args:
        source: folder, as an fsspec address.
        target: folder, as an fsspec address.
        model: the bytes of the model file, so that every machine runs the same.
        settings: of the job.
        tries: how often a file is tried that cannot be read or written, or ends its worker.
        threads: processor threads of the engine.
        overwrite: replace files of the target that no job made.
        retry_seconds: wait before the second try, doubled for each further one.
    """

    def __init__(
        self,
        source: str,
        target: str,
        model: bytes,
        settings: Settings,
        *,
        tries: int = 3,
        threads: int = 1,
        overwrite: bool = False,
        retry_seconds: float = 0.5,
    ) -> None:
        self._source_files, self._source = open_folder(source)
        self._target_files, self._target = open_folder(target)
        self._settings = settings
        self._tries = tries
        self._overwrite = overwrite
        self._retry_seconds = retry_seconds
        self._ledger = Ledger(self._target_files, self._target, settings.key)
        self._restorer = Restorer(_engine_of(model, threads))
        self._name = f"{os.uname().nodename}:{os.getpid()}"

    def restore(self, task: Task) -> Outcome:
        """Restore one file, unless it was done before; a bad file is an outcome, not an error."""
        try:
            if self._ledger.is_done(task):
                return Outcome(task.name, "already")
            if self._ledger.begin(task) >= self._tries:
                self._ledger.forget(task)
                return self._bad(task, f"Its worker ended {self._tries} times while working on it.")
        except CmudrnError as error:
            return self._bad(task, str(error))
        except OSError as error:
            return self._bad(task, f"{task.name}: {sentence(error)}.")
        for wait in [*(self._retry_seconds * 2**n for n in range(self._tries - 1)), None]:
            try:
                return self._restore(task)
            except CmudrnError as error:
                outcome = self._bad(task, str(error))
                break  # the same file fails the same way
            except OSError as error:
                outcome = self._bad(task, f"{task.name}: {sentence(error)}.")
                if wait is not None:
                    time.sleep(wait)
        self._ledger.forget(task)
        return outcome

    def _restore(self, task: Task) -> Outcome:
        started = time.perf_counter()
        source, target = f"{self._source}/{task.name}", f"{self._target}/{task.name}"
        self._check_target(source, target)
        data = self._source_files.cat_file(source)
        picture = read_picture(data, max_pixels=MAX_PIXELS, name=task.name)
        settings = self._settings
        pixels = self._restorer(
            picture.pixels,
            strength=settings.strength,
            stages=settings.stages,
            recursions=settings.recursions,
        )
        lossy = picture.format in ("jpeg", "webp")
        result = encode_picture(
            replace(picture, pixels=pixels), quality=settings.quality if lossy else None
        )
        sha256 = hashlib.sha256(result).hexdigest()
        self._ledger.make(source, sha256)
        write_whole(self._target_files, target, result)
        seconds = time.perf_counter() - started
        record = {
            "sha256": sha256,
            "worker": self._name,
            "seconds": round(seconds, 3),
        }
        self._ledger.finish(task, record)
        size = pixels.shape[0] * pixels.shape[1]
        notes = " ".join((*picture.notes, *unsupported_features(picture, picture.format)))
        return Outcome(task.name, "done", "", size, seconds, self._name, notes)

    def _check_target(self, source: str, target: str) -> None:
        """Refuse a target that is there and is no result of this source.

        Raises:
            CmudrnError: it would be lost.
        """
        if self._overwrite:
            return
        try:
            data = self._target_files.cat_file(target)
        except FileNotFoundError:
            return
        if not self._ledger.made(source, hashlib.sha256(data).hexdigest()):
            raise CmudrnError(
                f"{target} exists already, and no batch made it from {source} "
                "(--overwrite replaces it)."
            )

    def _bad(self, task: Task, reason: str) -> Outcome:
        return Outcome(task.name, "bad", reason, worker=self._name)


def _engine_of(model: bytes, threads: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        with open(path, "wb") as file:
            file.write(model)
        return open_engine(path, threads=threads)
