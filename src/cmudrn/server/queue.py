"""A bounded line of jobs before a small pool of threads."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cmudrn.server.limits import Limits
from cmudrn.server.problems import Problem

Result = TypeVar("Result")


class ClientLeft(Exception):
    """Raised inside a job whose client has closed the connection."""


class Ticket:
    """Tells a job whether to go on.

    Args:
        deadline: on the monotonic clock, seconds.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._left = threading.Event()

    def leave(self) -> None:
        """Stop the job at its next check: nobody waits for its result."""
        self._left.set()

    def check(self, *_progress: int) -> None:
        """Do nothing while the job may go on.

        Raises:
            ClientLeft: nobody waits for the result any more.
            Problem: the time is up.
        """
        if self._left.is_set():
            raise ClientLeft
        if time.monotonic() > self._deadline:
            raise Problem(504, "Restoring this picture took longer than the server allows.")


class Queue:
    """Runs jobs on threads, refuses those that would wait too long.

    ONNX Runtime and libvips release the interpreter's lock, so threads are enough.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="restore")
        self._mean_seconds = 1.0
        self.taken = 0
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many requests hold a place without being worked on."""
        return self.taken - self.running

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place from before a picture arrives until its work has ended.

        Raises:
            Problem: all places are taken.
        """
        if self.taken >= self._limits.places:
            wait = math.ceil(self._mean_seconds * self.taken / self._limits.workers)
            raise Problem(
                503,
                "The server is busy; try again in a moment.",
                {"Retry-After": str(min(max(wait, 1), 60))},
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, job: Callable[[Ticket], Result], departure: Awaitable[None]) -> Result:
        """Return the job's result; stop the job once departure comes true.

        Raises:
            ClientLeft: departure came first.
            Problem: the time was up first.
        """
        ticket = Ticket(time.monotonic() + self._limits.seconds)
        watcher = asyncio.ensure_future(departure)
        watcher.add_done_callback(lambda _: ticket.leave())
        loop = asyncio.get_running_loop()
        try:
            # Even a stopped job keeps its place until its thread is free: memory stays bounded.
            return await loop.run_in_executor(self._pool, self._timed, job, ticket, loop)
        finally:
            ticket.leave()
            watcher.cancel()

    def _timed(
        self,
        job: Callable[[Ticket], Result],
        ticket: Ticket,
        loop: asyncio.AbstractEventLoop,
    ) -> Result:
        ticket.check()
        loop.call_soon_threadsafe(self._count, 1)
        started = time.monotonic()
        try:
            return job(ticket)
        finally:
            loop.call_soon_threadsafe(self._count, -1, time.monotonic() - started)

    def _count(self, change: int, seconds: float | None = None) -> None:
        self.running += change
        if seconds is not None:
            self._mean_seconds += 0.2 * (seconds - self._mean_seconds)

    def close(self) -> None:
        """Take no more jobs; those that run end at their next check, and nobody waits for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)
