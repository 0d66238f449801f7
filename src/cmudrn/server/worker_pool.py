"""The worker processes from the server's side: started once, replaced where they have to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from cmudrn.engines.base import available_cores
from cmudrn.server import frames, worker
from cmudrn.server.body import Body
from cmudrn.server.budget import Allocation, Allocations, MemoryBudget
from cmudrn.server.limits import Limits
from cmudrn.server.memory import resident_bytes
from cmudrn.server.problems import Problem
from cmudrn.server.processing import RestoreRequest

GRACE_SECONDS = 1.0
"""How long a worker may take to stop before it is ended: most tiles take less."""

START_SECONDS = 60.0
"""How long a worker may take to start, which on a busy machine is longer than a picture may."""

WATCH_SECONDS = 0.1
"""Between two looks at a worker's memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnswerHead:
    """What is known of an answer before its bytes.

    Attributes:
        media_type: what the bytes are.
        notes: sentences about what the picture lost on the way.
        pixels: width times height.
        seconds: the work took.
        changed: share of the pixels that were changed strongly.
        length: number of bytes.
    """

    media_type: str
    notes: tuple[str, ...]
    pixels: int
    seconds: float
    changed: float
    length: int


class WorkerProcess:
    """One worker process, and the next one once this has ended.

    Args:
        command: starts a worker.
        memory: bytes that it may take.
    """

    def __init__(self, command: list[str], memory: int) -> None:
        self._command = command
        self._memory = memory
        self._process: Process | None = None
        self._is_ready = False
        self._in_frame = False
        self._body_left = 0
        self._is_too_large = False

    @property
    def process_id(self) -> int | None:
        """The system's number for the process; None before it was started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process unless it runs."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, limit=frames.CHUNK_BYTES
            )
            self._is_ready = self._in_frame = self._is_too_large = False
            self._body_left = 0

    async def _wait_until_ready(self) -> None:
        """Return once the process has opened its model; it is given no job before."""
        while not self._is_ready:
            self._is_ready = (await self._read_frame())[0] == frames.READY

    async def work(
        self, request: RestoreRequest, body: Body, allow: Callable[[int], Awaitable[int]]
    ) -> AnswerHead:
        """Return the head of an answer; its bytes are read next.

        Args:
            request: what is wanted.
            body: the picture, which is dropped once the worker has it.
            allow: called with the bytes that the picture will take; returns how many threads it
                is to be restored with, once there is so much memory.

        Raises:
            Problem: the picture was refused, or took more memory than a worker may have.
        """
        try:
            await self.start()
            await self._wait_until_ready()
            await self._write_job(request, body)
            kind, data = await self._read_frame()
            if kind == frames.NEED:
                await self._grant(await allow(int(data)))
                body.release()
                kind, data = await self._read_frame()
            return await self._read_head(kind, data)
        except (EOFError, OSError) as error:
            if self._is_too_large:
                detail = "Restoring the picture takes more memory than the server allows."
                raise Problem(413, detail) from error
            log.error("A worker process ended while it restored a picture.")
            raise Problem(500, "The process that restored the picture ended.") from error

    async def _write_job(self, request: RestoreRequest, body: Body) -> None:
        record = request.to_json()
        self._in_frame = True
        self._stdin.write(frames.HEAD.pack(frames.JOB, len(record)) + record)
        with body.data as data:
            self._stdin.write(frames.HEAD.pack(frames.PICTURE, len(data)))
            for start in range(0, len(data), frames.CHUNK_BYTES):
                self._stdin.write(bytes(data[start : start + frames.CHUNK_BYTES]))
                await self._stdin.drain()
        await self._stdin.drain()
        self._in_frame = False
        body.drop()

    async def _grant(self, threads: int) -> None:
        number = str(threads).encode()
        self._stdin.write(frames.HEAD.pack(frames.GRANT, len(number)) + number)
        await self._stdin.drain()

    async def _read_head(self, kind: bytes, data: bytes) -> AnswerHead:
        if kind == frames.REFUSAL:
            refusal = json.loads(data)
            raise Problem(int(refusal["status"]), str(refusal["detail"]))
        if kind != frames.ANSWER:
            raise Problem(500, "The server failed; its log says why.")
        record = json.loads(data)
        record["notes"] = tuple(record["notes"])
        self._in_frame = True
        kind, length = frames.HEAD.unpack(await self._stdout.readexactly(frames.HEAD.size))
        self._in_frame, self._body_left = False, length
        return AnswerHead(**record, length=length)

    async def read_chunk(self, size: int) -> bytes:
        """Return the next bytes of the answer.

        Raises:
            EOFError: the process has ended.
        """
        chunk = await self._stdout.readexactly(size)
        self._body_left -= size
        return chunk

    async def settle(self) -> None:
        """Make the worker ready for the next job, whatever it is doing.

        It is told to stop; one that does not is ended and replaced. One that still starts has no
        job, and is let start: to begin again would take as long.
        """
        try:
            if not self._is_ready:
                async with asyncio.timeout(START_SECONDS):
                    await self._wait_until_ready()
                return
            async with asyncio.timeout(GRACE_SECONDS):
                if self._in_frame:
                    raise EOFError
                self._stdin.write(frames.HEAD.pack(frames.STOP, 0))
                while self._body_left:
                    await self.read_chunk(min(self._body_left, frames.CHUNK_BYTES))
                while (kind := (await self._read_frame())[0]) != frames.STOPPED:
                    if kind == frames.ANSWER:
                        head = await self._stdout.readexactly(frames.HEAD.size)
                        self._body_left = frames.HEAD.unpack(head)[1]
                        while self._body_left:
                            await self.read_chunk(min(self._body_left, frames.CHUNK_BYTES))
        except (TimeoutError, EOFError, OSError):
            await self.end()
            await self.start()

    async def end(self) -> None:
        """End the process."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End the process without waiting for it."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def watch(self) -> None:
        """End the process once it takes more memory than it may; where the system tells."""
        while self._process is None or self._process.returncode is None:
            if self._process and resident_bytes(self._process.pid) > self._memory:
                self._is_too_large = True
                self.kill()
                return
            await asyncio.sleep(WATCH_SECONDS)

    async def _read_frame(self) -> tuple[bytes, bytes]:
        head = await self._stdout.readexactly(frames.HEAD.size)
        kind, length = frames.HEAD.unpack(head)
        if length > frames.MAX_JSON_BYTES:
            raise EOFError
        self._in_frame = True
        data = await self._stdout.readexactly(length)
        self._in_frame = False
        return kind, data

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout


class Delivery:
    """An answer on its way from its worker to its client, in bounded memory.

    Args:
        head: what is known before the bytes.
        process: that holds the bytes.
        budget: of all answers.
    """

    def __init__(self, head: AnswerHead, process: WorkerProcess, budget: MemoryBudget) -> None:
        self.head = head
        self._process = process
        self._budget = budget
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._held = 0
        self._pulling: asyncio.Task[None] | None = None

    def start(self, on_end: Callable[[bool], None]) -> None:
        """Fetch the bytes; on_end is told once the worker is done with, and whether it said all."""
        self._pulling = asyncio.ensure_future(self._pull())
        self._pulling.add_done_callback(
            lambda task: on_end(not task.cancelled() and task.exception() is None)
        )

    async def _pull(self) -> None:
        """Fetch the bytes from the worker as far as the budget allows."""
        left = self.head.length
        try:
            while left:
                size = min(left, frames.CHUNK_BYTES)
                if self._held:
                    await self._budget.take(size)
                else:  # one chunk is always on its way, or nobody would get on
                    self._budget.force(size)
                self._held += size
                self._chunks.put_nowait(await self._process.read_chunk(size))
                left -= size
        finally:
            if left:
                self._chunks.put_nowait(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes; each chunk is let go when the next one is asked for.

        Raises:
            EOFError: the worker ended before the last one.
        """
        left = self.head.length
        while left:
            chunk = await self._chunks.get()
            if chunk is None:
                raise EOFError
            yield chunk
            left -= len(chunk)
            self._release(len(chunk))

    def close(self) -> None:
        """Let go of the worker and of what was not yielded."""
        if self._pulling:
            self._pulling.cancel()
        self._release(self._held)

    def _release(self, size: int) -> None:
        self._held -= size
        self._budget.release(size)


class WorkerPool:
    """Lends worker processes to requests, one each.

    Args:
        models: name -> a shipped model's name, or the path of a model file; the first is opened
            when a worker starts.
        limits: of the pictures and of the workers.
        device: one of `cmudrn.engines.DEVICES`.

    Attributes:
        running: workers that are lent.
        waiting: requests that wait for one.
        mean_seconds: a worker is lent for.
    """

    def __init__(self, models: Mapping[str, str], limits: Limits, device: str = "cpu") -> None:
        command = worker.command(dict(models), limits, device)
        self._workers = [WorkerProcess(command, limits.worker_bytes) for _ in range(limits.workers)]
        self._idle: asyncio.Queue[WorkerProcess] = asyncio.Queue()
        for process in self._workers:
            self._idle.put_nowait(process)
        self._budget = MemoryBudget(limits.memory_bytes)
        self._allocations = Allocations(self._budget, available_cores())
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.running = self.waiting = 0
        self.mean_seconds = 1.0

    @property
    def is_blocked(self) -> bool:
        """Whether answers that are not read keep others from being made."""
        return self._allocations.are_blocked

    async def start(self) -> None:
        """Start the processes ahead of the first request."""
        await asyncio.gather(*(process.start() for process in self._workers))

    async def answer(self, request: RestoreRequest, body: Body) -> Delivery:
        """Return an answer whose bytes are on their way; close it in the end.

        Raises:
            Problem: the picture was refused.
        """
        self.waiting += 1
        try:
            process = await self._idle.get()
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        watcher = asyncio.ensure_future(process.watch())
        allocation = Allocation(self._allocations)

        def end(is_clean: bool) -> None:
            watcher.cancel()
            self._give_back(process, allocation, started, settle=not is_clean)

        try:
            head = await process.work(request, body, allocation.take)
        except BaseException as error:
            end(isinstance(error, Problem) and error.status < 500)
            raise
        allocation.shrink(head.length)
        delivery = Delivery(head, process, self._budget)
        delivery.start(end)
        return delivery

    def _give_back(
        self, process: WorkerProcess, allocation: Allocation, started: float, *, settle: bool
    ) -> None:
        self.running -= 1
        self.mean_seconds += 0.2 * (time.monotonic() - started - self.mean_seconds)
        if settle and not self._is_closed:
            task = asyncio.ensure_future(self._settle(process, allocation))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        allocation.release()
        if self._is_closed:
            process.kill()
        else:
            self._idle.put_nowait(process)

    async def _settle(self, process: WorkerProcess, allocation: Allocation) -> None:
        try:
            await process.settle()
        finally:
            allocation.release()
            self._idle.put_nowait(process)  # one that could not be started is tried once more

    async def close(self) -> None:
        """End all processes."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(process.end() for process in self._workers))
