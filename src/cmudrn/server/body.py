"""The picture in a request: the raw body or the one file of a form, held in memory only."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cmudrn.server.budget import MemoryBudget
from cmudrn.server.limits import Limits
from cmudrn.server.problems import CLOSE, ClientLeftError, Problem

_FORM_OVERHEAD = 64 << 10
"""Bytes that a form may take beside its file."""

_SLICE_BYTES = 64 << 10

_SAFE_SECONDS = 2.0
"""How old an upload has to be before it may have to make room for another."""


class Body:
    """A picture that arrives, in memory of its own, which the system gets back at once.

    It counts against the budget until it is released.

    Args:
        limit: most bytes; memory is taken as they come.
        budget: of all bodies.
    """

    def __init__(self, limit: int, budget: MemoryBudget) -> None:
        self._memory = mmap.mmap(-1, max(limit, 1))
        self._budget = budget
        self._length = 0

    @property
    def data(self) -> memoryview:
        """The bytes that have come; let go of it before the body is released."""
        return memoryview(self._memory)[: self._length]

    def try_add(self, chunk: bytes) -> bool:
        """Append bytes if the budget has room for them; return whether it had."""
        if not self._budget.try_take(len(chunk)):
            return False
        self._memory[self._length : self._length + len(chunk)] = chunk
        self._length += len(chunk)
        return True

    def drop(self) -> None:
        """Give up the bytes, of which somebody has a copy that counts in their place."""
        self._memory.close()

    def release(self) -> None:
        """Give up the bytes, and count no more; more than once does no harm."""
        self._budget.release(self._length)
        self._length = 0
        self._memory.close()


class Intake:
    """Takes in bodies, with deadlines and rates, in a bounded amount of memory.

    Args:
        limits: of a body and of all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budget = MemoryBudget(limits.upload_bytes)
        self._uploads: set[_Upload] = set()

    @property
    def receiving(self) -> int:
        """How many bodies are arriving."""
        return len(self._uploads)

    async def read(self, request: Request) -> Body:
        """Return the picture that a request carries.

        Raises:
            Problem: too large, too slow, or a form without exactly one file.
            ClientLeftError: the connection broke.
        """
        kind = request.headers.get("content-type", "").lower()
        is_form = kind.startswith("multipart/form-data")
        limit = self._limits.bytes + (_FORM_OVERHEAD if is_form else 0)
        declared = request.headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else limit
        if length > limit:
            raise self._too_large()
        body = Body(length, self._budget)
        try:
            await self._receive(request, body, length)
            return await self._unpack(request.headers, body) if is_form else body
        except BaseException:
            body.release()
            raise

    async def _receive(self, request: Request, body: Body, length: int) -> None:
        upload = _Upload(self._limits)
        self._uploads.add(upload)
        try:
            async with upload.deadline:
                async for chunk in request.stream():
                    if upload.received + len(chunk) > length:
                        raise self._too_large()
                    if not body.try_add(chunk):
                        self._make_room(upload)
                        again = {"Retry-After": "1"} | CLOSE
                        raise Problem(503, "The server is busy; try again in a moment.", again)
                    upload.add(len(chunk))
        except TimeoutError as error:
            raise Problem(408, "The picture took too long to arrive.", CLOSE) from error
        except ClientDisconnect as error:
            raise ClientLeftError from error
        finally:
            self._uploads.discard(upload)

    async def _unpack(self, headers: Headers, form: Body) -> Body:
        """Return the picture of a form, which is dropped."""
        data = await _read_form(headers, form)
        form.release()
        body = Body(len(data), self._budget)
        body.try_add(data)  # there is room: it is what was released
        return body

    def _too_large(self) -> Problem:
        limit = self._limits.bytes
        return Problem(413, f"The picture is larger than the limit of {limit:,} bytes.", CLOSE)

    def _make_room(self, asking: _Upload) -> None:
        """End the slowest of the uploads that had time to be fast."""
        now = asyncio.get_running_loop().time()
        others = [
            upload
            for upload in self._uploads
            if upload is not asking and now - upload.started > _SAFE_SECONDS
        ]
        if others:
            min(others, key=lambda upload: upload.received / (now - upload.started)).end()


class _Upload:
    """A body that arrives, and until when it has to go on arriving."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.started = asyncio.get_running_loop().time()
        self.received = 0
        self._window_end = self.started + min(limits.stall_seconds, limits.upload_seconds)
        self._window_received = 0
        self._ended = False
        self.deadline = asyncio.timeout_at(self._window_end)

    def add(self, size: int) -> None:
        """Count what arrived; a window of time with enough of it is followed by another."""
        self.received += size
        self._window_received += size
        limits, now = self._limits, asyncio.get_running_loop().time()
        if not self._ended and self._window_received >= limits.stall_seconds * limits.min_rate:
            last = self.started + limits.upload_seconds
            self._window_received = 0
            self.deadline.reschedule(min(now + limits.stall_seconds, last))

    def end(self) -> None:
        """End the upload as if its time were up."""
        self._ended = True
        self.deadline.reschedule(0)


async def departure(request: Request) -> None:
    """Return when the client closes the connection; call it after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_form(headers: Headers, body: Body) -> bytes:
    with body.data as data:
        parser = MultiPartParser(headers, _slices(data), max_files=1, max_fields=0)
        parser.spool_max_size = len(data) + 1  # never a file on disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise Problem(422, f"The form cannot be read: {error.message.rstrip('.')}.") from error
        except ValueError as error:  # a charset that decodes nothing
            detail = "The form cannot be read: its names cannot be decoded."
            raise Problem(422, detail) from error
    files = [part for part in form.values() if isinstance(part, UploadFile)]
    if not files:
        raise Problem(422, "The form holds no file.")
    try:
        return await files[0].read()
    finally:
        await form.close()


async def _slices(data: memoryview) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), _SLICE_BYTES):
        yield bytes(data[start : start + _SLICE_BYTES])
        await asyncio.sleep(0)  # others are answered between two slices, however long a form is
