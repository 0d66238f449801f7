"""The picture in a request: the raw body or the one file of a form, held in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cmudrn.server.budget import MemoryBudget
from cmudrn.server.limits import Limits
from cmudrn.server.problems import CLOSE, ClientLeftError, Problem

_FORM_OVERHEAD = 64 << 10
"""Bytes that a form may take beside its file."""

_SAFE_SECONDS = 2.0
"""How old an upload has to be before it may have to make room for another."""


class Body:
    """A picture that has arrived; it counts against the budget until it is released.

    Attributes:
        data: the bytes of the picture file.
    """

    def __init__(self, data: bytes | bytearray, size: int, budget: MemoryBudget) -> None:
        self.data = data
        self._size = size
        self._budget = budget

    def release(self) -> None:
        """Drop the bytes; more than once does no harm."""
        self._budget.release(self._size)
        self._size, self.data = 0, b""


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
        upload = _Upload(self._limits)
        self._uploads.add(upload)
        try:
            async with upload.deadline:
                stream = self._bounded(request, upload, is_form)
                if is_form:
                    data: bytes | bytearray = await _read_form(
                        request.headers, stream, self._limits.bytes + _FORM_OVERHEAD
                    )
                else:
                    data = bytearray()
                    async for chunk in stream:
                        data += chunk
        except BaseException as error:
            self._budget.release(upload.received)
            if isinstance(error, TimeoutError):
                raise Problem(408, "The picture took too long to arrive.", CLOSE) from error
            if isinstance(error, ClientDisconnect):
                raise ClientLeftError from error
            raise
        finally:
            self._uploads.discard(upload)
        return Body(data, upload.received, self._budget)

    async def _bounded(
        self, request: Request, upload: _Upload, is_form: bool
    ) -> AsyncGenerator[bytes, None]:
        limit = self._limits.bytes + (_FORM_OVERHEAD if is_form else 0)
        too_large = Problem(
            413, f"The picture is larger than the limit of {self._limits.bytes:,} bytes.", CLOSE
        )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large
        async for chunk in request.stream():
            if upload.received + len(chunk) > limit:
                raise too_large
            if not self._budget.try_take(len(chunk)):
                self._make_room(upload)
                raise Problem(503, "The server is busy; try again.", {"Retry-After": "1"} | CLOSE)
            upload.add(len(chunk))
            yield chunk

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


async def _read_form(
    headers: Headers, stream: AsyncGenerator[bytes, None], in_memory: int
) -> bytes:
    parser = MultiPartParser(headers, stream, max_files=1, max_fields=0)
    parser.spool_max_size = in_memory + 1  # never a file on disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(422, f"The form cannot be read: {error.message.rstrip('.')}.") from error
    except ValueError as error:  # a charset that decodes nothing
        raise Problem(422, "The form cannot be read: its names cannot be decoded.") from error
    files = [part for part in form.values() if isinstance(part, UploadFile)]
    if not files:
        raise Problem(422, "The form holds no file.")
    try:
        return await files[0].read()
    finally:
        await form.close()
