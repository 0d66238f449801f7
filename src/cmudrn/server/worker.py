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
from dataclasses import asdict
from typing import Any, BinaryIO

from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.server import frames
from cmudrn.server.limits import Limits
from cmudrn.server.processing import Models, RestoreRequest, process_request


class _StopError(Exception):
    """Raised inside the work on a picture that nobody waits for."""


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
        self._jobs: queue.Queue[tuple[RestoreRequest, bytes] | None] = queue.Queue()
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until the server has gone; does not return."""
        threading.Thread(target=self._listen, daemon=True).start()
        frames.write_frame(self._outbox, frames.READY)
        while True:
            if (job := self._jobs.get()) is not None:
                self._answer(*job)
            else:
                self._stop.clear()
                frames.write_frame(self._outbox, frames.STOPPED)

    def _listen(self) -> None:
        """Read frames, so that a stop is heard while a picture is restored."""
        try:
            while True:
                kind, data = frames.read_frame(self._inbox)
                if kind == frames.STOP:
                    self._stop.set()
                    self._jobs.put(None)
                else:
                    request = RestoreRequest.from_json(data)
                    self._jobs.put((request, frames.read_frame(self._inbox)[1]))
        except EOFError:
            os._exit(0)  # in the middle of a picture, too: nobody waits for it

    def _check(self, *_progress: int) -> None:
        if self._stop.is_set():
            raise _StopError

    def _answer(self, request: RestoreRequest, data: bytes) -> None:
        try:
            self._check()
            restorer = self._models.restorer(request.model)
            answer = process_request(data, request, restorer, self._limits, self._check)
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
    Worker(sys.stdin.buffer, outbox, models, limits).run()
