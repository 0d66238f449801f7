"""The finished pieces of a clip, kept so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file


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
class Part:
    """A few frames, encoded, that need no other part.

    Attributes:
        streams: result's name -> its packets.
        scores: (frames, 4): rain, snow, clear and whether the gate passed each frame; NaN where
            no score was asked for.
        state: what the run has to remember for the next part, as numbers.
    """

    streams: Mapping[str, list[Encoded]]
    scores: np.ndarray[Any, np.dtype[np.float64]]
    state: np.ndarray[Any, np.dtype[np.float64]]


class PartsFolder:
    """The parts of one result, in a hidden folder beside it.

    Args:
        target: the result.
        plan: everything that decides what the parts hold; parts of another plan are discarded.
    """

    def __init__(self, target: Path, plan: Mapping[str, Any]) -> None:
        self.path = target.with_name(f".{target.name}.parts")
        self._plan = json.dumps(plan, indent=1, sort_keys=True, default=str)

    def open(self) -> int:
        """Make the folder and return how many parts of this plan are in it, from the first on.

        Raises:
            CmudrnError: the folder cannot be made.
        """
        record = self.path / "plan.json"
        try:
            if not record.is_file() or record.read_text(encoding="utf-8") != self._plan:
                shutil.rmtree(self.path, ignore_errors=True)
                self.path.mkdir(parents=True)
                with atomic_file(record) as file:
                    file.write(self._plan.encode())
        except OSError as error:
            raise CmudrnError(f"Cannot write {self.path}: {error.strerror}.") from error
        number = 0
        while zipfile.is_zipfile(self._file(number)):
            number += 1
        return number

    def write(self, number: int, part: Part) -> None:
        """Store a part; it appears whole or not at all.

        Raises:
            CmudrnError: it cannot be written.
        """
        arrays: dict[str, Any] = {"scores": part.scores, "state": part.state}
        for name, packets in part.streams.items():
            table = [(p.time, p.duration, p.is_key, len(p.data)) for p in packets]
            arrays[f"table.{name}"] = np.array(table, np.int64).reshape(-1, 4)
            arrays[f"data.{name}"] = np.frombuffer(b"".join(p.data for p in packets), np.uint8)
        with atomic_file(self._file(number)) as file:
            np.savez(file, **arrays)

    def packets(self, number: int, name: str) -> Iterator[Encoded]:
        """Yield the packets of one result of a part."""
        with np.load(self._file(number)) as arrays:
            table, data = arrays[f"table.{name}"], arrays[f"data.{name}"].tobytes()
        place = 0
        for time, duration, is_key, size in table.tolist():
            yield Encoded(data[place : place + size], time, duration, bool(is_key))
            place += size

    def times(self, number: int, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the times of a part's packets, in the order of decoding."""
        with np.load(self._file(number)) as arrays:
            times: np.ndarray[Any, np.dtype[np.int64]] = arrays[f"table.{name}"][:, 0]
        return times

    def scores(self, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return `Part.scores`."""
        with np.load(self._file(number)) as arrays:
            return np.array(arrays["scores"])

    def state(self, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return `Part.state`."""
        with np.load(self._file(number)) as arrays:
            return np.array(arrays["state"])

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.path / f"{number:06d}.npz"


def stamp(path: Path) -> dict[str, Any]:
    """Return what tells whether a file is still the same."""
    status = os.stat(path)
    return {"path": str(path.resolve()), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}
