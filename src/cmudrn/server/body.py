"""The picture in a request: the raw body or the one file of a form, held in memory only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cmudrn.server.limits import Limits
from cmudrn.server.problems import Problem
from cmudrn.server.queue import ClientLeft

_FORM_OVERHEAD = 64 << 10
"""Bytes that a form may take beside its file."""

_CLOSE = {"Connection": "close"}
"""Ends a connection that is still sending."""


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the bytes of the picture that a request carries.

    Raises:
        Problem: too large, too slow, or a form without exactly one file.
        ClientLeft: the connection broke.
    """
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    limit = limits.bytes + (_FORM_OVERHEAD if is_form else 0)
    stream = _bounded(request, limit)
    try:
        async with asyncio.timeout(limits.upload_seconds):
            if is_form:
                return await _read_form(request.headers, stream, limit)
            return b"".join([chunk async for chunk in stream])
    except TimeoutError as error:
        raise Problem(408, "The picture took too long to arrive.", _CLOSE) from error
    except ClientDisconnect as error:
        raise ClientLeft from error


async def departure(request: Request) -> None:
    """Return when the client closes the connection; call it after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    too_large = Problem(413, f"The picture is larger than the limit of {limit:,} bytes.", _CLOSE)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > limit:
            raise too_large
        yield chunk


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
