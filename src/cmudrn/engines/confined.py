"""ONNX Runtime in a process of its own, which may take so much memory and time and no more.

A network of unknown operators may ask for any amount of both, whatever the size of its file. Here
that ends a process that has nothing else to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

MAX_SECONDS = 600.0
"""Of one call, or for opening the model."""
MAX_MEMORY = 8 << 30
"""Bytes of the process; half of the machine's memory where that is less."""
MIN_MEMORY = 1 << 30

_PROCESS = "cmudrn.engines.confined_process"
_LENGTH = struct.Struct(">Q")
_MAX_REPLY = 1 << 34


class ConfinedError(Exception):
    """The process could not do what it was asked; the text says why, without a full stop."""


@dataclass(frozen=True)
class Named:
    """An input or output of the network: its name."""

    name: str


class ConfinedSession:
    """An `onnxruntime.InferenceSession` in a process of its own, as far as engines need one.

    Args:
        data: bytes of a model file that `parse_model` accepts.
        threads: processor threads of a call.
        memory: bytes that the process may take, where the system limits them (Linux); None is
            `memory_limit()`.
        seconds: that opening the model and each call may take; None is `MAX_SECONDS`.

    Raises:
        ConfinedError: ONNX Runtime does not take the model, or it takes too much.
    """

    def __init__(
        self,
        data: bytes,
        threads: int,
        memory: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self._memory = memory or memory_limit()
        self._seconds = seconds or MAX_SECONDS
        options = json.dumps({"threads": threads, "memory": self._memory})
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {_PROCESS} import main; main()", options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as error:
            raise ConfinedError(f"its process does not start: {error.strerror}") from error
        self._end = weakref.finalize(self, _end, self._process)
        try:
            names = json.loads(self._ask(data)[0])
        except BaseException:
            self._end()
            raise
        self._inputs, self._outputs = ([Named(name) for name in some] for some in names)

    def get_inputs(self) -> list[Named]:
        """Return the inputs."""
        return self._inputs

    def get_outputs(self) -> list[Named]:
        """Return the outputs."""
        return self._outputs

    def run(
        self, wanted: Sequence[str], feeds: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Return the wanted outputs.

        Args:
            wanted: one name.
            feeds: name of the input -> (B, 3, H, W) float32.

        Raises:
            ConfinedError: the network failed, or took too much; it cannot be called again then.
        """
        ((_, batch),) = feeds.items()
        head = json.dumps({"wanted": list(wanted), "shape": batch.shape}).encode()
        about, content = self._ask(head, batch.tobytes())
        shape = tuple(json.loads(about)["shape"])
        return [np.frombuffer(content, np.float32).reshape(shape).copy()]

    def _ask(self, *parts: bytes) -> list[bytes]:
        """Send bytes and return what is answered."""
        too_slow = threading.Event()

        def stop() -> None:
            too_slow.set()
            self._process.kill()

        watchdog = threading.Timer(self._seconds, stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            assert self._process.stdin is not None and self._process.stdout is not None
            for part in parts:
                write_part(self._process.stdin, part)
            failure = read_part(self._process.stdout)
            if not failure:
                return [read_part(self._process.stdout) for _ in parts]
        except (EOFError, OSError) as error:
            if too_slow.is_set():
                raise ConfinedError(f"it took more than {self._seconds:.0f} seconds") from error
            limit = f"{self._memory >> 20:,} MB of memory"
            raise ConfinedError(f"it crashed, or took more than {limit}") from error
        finally:
            watchdog.cancel()
        raise ConfinedError(failure.decode(errors="replace"))


def memory_limit() -> int:
    """Return how many bytes a process of a foreign model may take."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return MAX_MEMORY
    return max(MIN_MEMORY, min(MAX_MEMORY, there // 2))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for file in (process.stdin, process.stdout):
        if file is not None:
            with contextlib.suppress(OSError):  # what was not sent
                file.close()
    process.wait()


def write_part(file: IO[bytes], data: bytes) -> None:
    """Write some bytes and how many they are."""
    file.write(_LENGTH.pack(len(data)))
    file.write(data)
    file.flush()


def read_part(file: IO[bytes]) -> bytes:
    """Return what `write_part` wrote.

    Raises:
        EOFError: the other side has gone.
    """
    head = file.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _MAX_REPLY
    data = file.read(length) if length < _MAX_REPLY else b""
    if len(data) != length:
        raise EOFError
    return data
