"""The finished segments of a clip, kept so that a killed run resumes where it was."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from cmudrn.errors import TargetError
from cmudrn.files import atomic_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


LOCK = "lock"
"""Name of the file in the folder that the run at work holds locked."""


class Encoded(NamedTuple):
    """One encoded frame, in the order of decoding.

    Attributes:
        data: the packet.
        time: when it is shown, in the clip's time base.
        duration: in the clip's time base.
        is_key: whether it needs no other frame.
    """

    data: bytes
    time: int
    duration: int
    is_key: bool


@dataclass(frozen=True)
class Segment:
    """A few frames, encoded, that need no other segment.

    Attributes:
        streams: result's name -> its packets.
        scores: (frames, 4): rain, snow, clear and whether the gate passed each frame; NaN where
            no score was asked for.
        state: what the run has to remember for the next segment, as numbers.
    """

    streams: Mapping[str, list[Encoded]]
    scores: np.ndarray[Any, np.dtype[np.float64]]
    state: np.ndarray[Any, np.dtype[np.float64]]


def segments_folder(target: Path) -> Path:
    """Return the hidden folder of the finished segments of a result."""
    return target.with_name(f".{target.name}.segments")


class SegmentStore:
    """The segments of one result, in a hidden folder beside it.

    Args:
        target: the result.
        plan: everything that decides what the segments hold; those of another plan are discarded.
    """

    def __init__(self, target: Path, plan: Mapping[str, object]) -> None:
        self.path = segments_folder(target)
        self._target = target
        self._plan = json.dumps(plan, indent=1, sort_keys=True, default=str)
        self._lock: TextIO | None = None

    def open(self) -> int:
        """Make the folder and return how many segments of this plan are in it, from the first on.

        The folder belongs to this run until `close`.

        Raises:
            TargetError: another run works on the same result, or the folder cannot be made.
        """
        record = self.path / "plan.json"
        try:
            self._lock = self._take_lock()
            if not record.is_file() or record.read_text(encoding="utf-8") != self._plan:
                self._clear()
                with atomic_file(record) as file:
                    file.write(self._plan.encode())
        except OSError as error:
            self.close()
            raise TargetError(
                f"Cannot write {self.path}: {error.strerror}.", path=self.path
            ) from error
        number = 0
        while zipfile.is_zipfile(self._file(number)):
            number += 1
        return number

    def close(self) -> None:
        """Let another run have the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> TextIO:
        place = self.path / LOCK
        while True:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # the clip may be private
            try:
                lock = open(place, "a", encoding="utf-8")  # noqa: SIM115
            except FileNotFoundError:  # the run that had the folder has just removed it
                continue
            if fcntl is None:
                return lock
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(place)):
                    return lock
            except FileNotFoundError:
                pass
            except BlockingIOError:
                lock.close()
                raise TargetError(
                    f"Another run is making {self._target} already.", path=self._target
                ) from None
            except OSError:  # a file system that knows no locks
                return lock
            lock.close()

    def _clear(self) -> None:
        """Remove everything but the lock."""
        for entry in self.path.iterdir():
            if entry.name != LOCK:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def write(self, number: int, segment: Segment) -> None:
        """Store a segment; it appears whole or not at all.

        Raises:
            TargetError: it cannot be written.
        """
        arrays: dict[str, Any] = {"scores": segment.scores, "state": segment.state}
        for name, packets in segment.streams.items():
            table = [(p.time, p.duration, p.is_key, len(p.data)) for p in packets]
            arrays[f"table.{name}"] = np.array(table, np.int64).reshape(-1, 4)
            arrays[f"data.{name}"] = np.frombuffer(b"".join(p.data for p in packets), np.uint8)
        with atomic_file(self._file(number)) as file:
            np.savez(file, **arrays)

    def packets(self, number: int, name: str) -> Iterator[Encoded]:
        """Yield the packets of one result of a segment."""
        with np.load(self._file(number)) as arrays:
            table, data = arrays[f"table.{name}"], arrays[f"data.{name}"].tobytes()
        place = 0
        for time, duration, is_key, size in table.tolist():
            yield Encoded(data[place : place + size], time, duration, bool(is_key))
            place += size

    def times(self, number: int, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the times of a segment's packets, in the order of decoding."""
        with np.load(self._file(number)) as arrays:
            times: np.ndarray[Any, np.dtype[np.int64]] = arrays[f"table.{name}"][:, 0]
        return times

    def scores(self, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return `Segment.scores`."""
        with np.load(self._file(number)) as arrays:
            return np.array(arrays["scores"])

    def state(self, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return `Segment.state`."""
        with np.load(self._file(number)) as arrays:
            return np.array(arrays["state"])

    def size(self, number: int) -> int:
        """Return the bytes of a segment on disk."""
        return self._file(number).stat().st_size

    def is_empty(self) -> bool:
        """Return whether no segment is finished."""
        return not self._file(0).exists()

    def remove(self) -> None:
        """Remove the folder."""
        if fcntl is None:
            self.close()  # Windows removes no open file
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.npz"


def file_signature(path: Path) -> dict[str, str | int]:
    """Return what tells whether a file is still the same."""
    status = os.stat(path)
    return {"path": str(path.resolve()), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
