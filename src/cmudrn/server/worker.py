"""A worker process: decodes, restores and encodes the pictures of the server's clients.

The server hands it models and limits on the command line and pictures on standard input, and ends
it where a picture takes too long or too much. It ends by itself when the server has gone.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from cmudrn.engines.base import AdjustableEngine
from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.server import frames
from cmudrn.server.limits import Limits
from cmudrn.server.memory import give_back_memory
from cmudrn.server.processing import Models, RestoreAnswer, RestoreRequest, process_request


class _StopError(Exception):
    """Raised inside the work on a picture that nobody waits for."""


@dataclass
class _Job:
    """A request and its picture file, which is dropped as soon as it is decoded."""

    request: RestoreRequest
    data: bytes

    def take(self) -> bytes:
        """Return the file, and keep it no longer."""
        data, self.data = self.data, b""
        return data


class Worker:
    """Answers one job after another.

    Args:
        inbox: frames from the server.
        outbox: frames to the server.
        models: the served models.
        limits: of a picture.
    """

    def __init__(self, inbox: BinaryIO, outbox: BinaryIO, models: Models, limits: Limits) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._models, self._limits = models, limits
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._grants: queue.Queue[int] = queue.Queue()
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until the server has gone; does not return."""
        threading.Thread(target=self._listen, daemon=True).start()
        frames.write_frame(self._outbox, frames.READY)
        while True:
            if (job := self._jobs.get()) is not None:
                self._answer(job)
                give_back_memory()
            else:
                self._stop.clear()
                self._grants = queue.Queue()
                frames.write_frame(self._outbox, frames.STOPPED)

    def _listen(self) -> None:
        """Read frames, so that a stop is heard while a picture is restored."""
        try:
            while True:
                kind, data = frames.read_frame(self._inbox)
                if kind == frames.STOP:
                    self._stop.set()
                    self._grants.put(0)
                    self._jobs.put(None)
                elif kind == frames.GRANT:
                    self._grants.put(int(data))
                else:
                    request = RestoreRequest.from_json(data)
                    self._jobs.put(_Job(request, frames.read_frame(self._inbox)[1]))
                    del data
        except EOFError:
            os._exit(0)  # in the middle of a picture, too: nobody waits for it

    def _check(self, *_progress: int) -> None:
        if self._stop.is_set():
            raise _StopError

    def _wait_for_memory(self, needed: int) -> int:
        """Return how many threads to work with, once the server has so much memory to spare."""
        frames.write_frame(self._outbox, frames.NEED, str(needed).encode())
        threads = self._grants.get()
        self._check()
        return threads

    def _process(self, job: _Job) -> RestoreAnswer:
        restorer = self._models.restorer(job.request.model)
        engine = restorer.engine

        def on_need(needed: int) -> None:
            threads = self._wait_for_memory(needed)
            if isinstance(engine, AdjustableEngine):
                engine.use_threads(threads)

        try:
            return process_request(
                job.take, job.request, restorer, self._limits, self._check, on_need
            )
        finally:
            if isinstance(engine, AdjustableEngine):
                engine.release_memory()

    def _answer(self, job: _Job) -> None:
        try:
            self._check()
            answer = self._process(job)
            self._check()
        except _StopError:
            return  # the stop itself waits in the queue and is told of there
        except CmudrnError as error:
            status = 413 if isinstance(error, LimitExceededError) else 422
            self._send(frames.REFUSAL, {"status": status, "detail": str(error)})
        except MemoryError:
            detail = "The picture takes more memory than the server has."
            self._send(frames.REFUSAL, {"status": 413, "detail": detail})
        except Exception:
            logging.exception("A picture could not be restored.")
            self._send(frames.FAILURE, {})
        else:
            give_back_memory()  # before a client that may read slowly
            record = {key: value for key, value in vars(answer).items() if key != "body"}
            self._send(frames.ANSWER, record)
            self._send_body(answer.body)

    def _send(self, kind: bytes, record: dict[str, Any]) -> None:
        frames.write_frame(self._outbox, kind, json.dumps(record).encode())

    def _send_body(self, body: bytes) -> None:
        view = memoryview(body)
        self._outbox.write(frames.HEAD.pack(frames.BODY, len(body)))
        for start in range(0, len(body), frames.CHUNK_BYTES):
            self._outbox.write(view[start : start + frames.CHUNK_BYTES])
        self._outbox.flush()


def command(models: dict[str, str], limits: Limits, device: str = "cpu") -> list[str]:
    """Return the command line that starts a worker."""
    options = json.dumps({"models": models, "limits": asdict(limits), "device": device})
    return [sys.executable, "-P", "-c", f"from {__name__} import main; main()", options]


def main() -> None:
    """Run one worker; the only argument of the command line is what `command` wrote."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends its workers
    options = json.loads(sys.argv[1])
    limits = Limits(**options["limits"])
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up between the frames
    models = Models(options["models"], limits.engine_threads, options["device"])
    models.restorer(next(iter(options["models"])))
    give_back_memory()
    Worker(sys.stdin.buffer, outbox, models, limits).run()
