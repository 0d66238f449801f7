"""What one worker does with one file: read, restore, write whole, record."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Literal

from cmudrn.cluster.files import is_disk, open_folder, read_whole, sentence, write_whole
from cmudrn.cluster.ledger import Ledger, ResultRecord, Task
from cmudrn.engines import Engine, open_engine
from cmudrn.errors import CmudrnError, DeviceError, TargetError
from cmudrn.files import claim_target
from cmudrn.image import MAX_BYTES, MAX_PIXELS, encode_picture, read_picture, unsupported_features
from cmudrn.restoration import Restorer, RestoreSettings, restore_image


@dataclass(frozen=True)
class JobSettings:
    """Everything that a result depends on besides its source.

    Attributes:
        model_sha256: hash of the model file.
        restore: how each picture is restored.
        quality: of JPEG, WebP and AVIF; None is the program's own.
        device: one of `cmudrn.engines.DEVICES`.
    """

    model_sha256: str
    restore: RestoreSettings = RestoreSettings()  # noqa: RUF009  (frozen)
    quality: int | None = None
    device: str = "cpu"

    @property
    def key(self) -> str:
        """The settings as one line, for the ledger."""
        parts: dict[str, object] = {
            "model_sha256": self.model_sha256,
            "quality": self.quality,
            "recursions": self.restore.recursions,
            "stages": self.restore.stages,
            "strength": self.restore.strength,
        }
        given = asdict(self.restore) | {"device": self.device}
        # Ledgers from before pictures were dehazed by themselves say nothing of it.
        usual = asdict(RestoreSettings(dehazing=False)) | {"device": "cpu"}
        # What is as usual is left out: ledgers are kept that are older than a setting.
        parts |= {name: value for name, value in given.items() if value != usual[name]}
        return repr(list(parts.items()))


State = Literal["done", "already", "bad"]


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: path below the source.
        state: "done", "already" (done before) or "bad".
        reason: one sentence for a bad file.
        notes: sentences about what the result could not keep, and of much change.
        pixels: width times height.
        seconds: the work took.
        worker: host and process.
    """

    name: str
    state: State
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
        settings: JobSettings,
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
        self._name = f"{platform.node()}:{os.getpid()}"
        self._refusal = ""
        try:
            self._restorer = Restorer(_engine_of(model, threads, settings.device))
        except DeviceError as error:  # the card of one machine of a cluster
            self._refusal = f"{self._name}: {error}"

    def restore(self, task: Task) -> Outcome:
        """Restore one file, unless it was done before; a bad file is an outcome, not an error."""
        if self._refusal:
            return self._bad(task, self._refusal)
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
        with claim_target(target) if is_disk(self._target_files) else nullcontext():
            return self._restore_to(task, source, target, started)

    def _restore_to(self, task: Task, source: str, target: str, started: float) -> Outcome:
        self._check_target(source, target)
        data = read_whole(self._source_files, source, MAX_BYTES, task.name)
        picture = read_picture(data, max_pixels=MAX_PIXELS, name=task.name)
        settings = self._settings
        done = restore_image(self._restorer, picture.pixels, settings.restore)
        result = encode_picture(replace(picture, pixels=done.pixels), quality=settings.quality)
        sha256 = hashlib.sha256(result).hexdigest()
        self._ledger.make(source, sha256)
        like = [source] if is_disk(self._source_files) else []
        write_whole(self._target_files, target, result, like)
        seconds = time.perf_counter() - started
        self._ledger.finish(task, ResultRecord(sha256, self._name, round(seconds, 3)))
        size = done.pixels.shape[0] * done.pixels.shape[1]
        lost = (*picture.notes, *unsupported_features(picture, picture.format))
        notes = " ".join((*done.notes, *lost))
        return Outcome(task.name, "done", "", size, seconds, self._name, notes)

    def _check_target(self, source: str, target: str) -> None:
        """Refuse a target that is there and is no result of this source.

        Raises:
            TargetError: it would be lost.
        """
        if self._overwrite:
            return
        try:
            data = self._target_files.cat_file(target)
        except FileNotFoundError:
            return
        if not self._ledger.made(source, hashlib.sha256(data).hexdigest()):
            raise TargetError(
                f"{target} exists already, and no batch made it from {source}.",
                path=target,
                exists=True,
            )

    def _bad(self, task: Task, reason: str) -> Outcome:
        return Outcome(task.name, "bad", reason, worker=self._name)


def _engine_of(model: bytes, threads: int, device: str) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        with open(path, "wb") as file:
            file.write(model)
        return open_engine(path, threads=threads, device=device)
