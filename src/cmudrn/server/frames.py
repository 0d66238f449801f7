"""How the server and its worker processes talk: frames of a kind, a length, and bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO

HEAD = struct.Struct(">cQ")
"""Kind and number of bytes."""

JOB, PICTURE, STOP = b"J", b"P", b"S"
"""To a worker: a request as JSON, then its picture; stop what you do."""

READY, ANSWER, BODY, REFUSAL, FAILURE, STOPPED = b"R", b"A", b"B", b"X", b"F", b"T"
"""From a worker: its models are open; an answer as JSON, its bytes; a refusal as JSON; the program
failed; it stopped."""

NEED, GRANT = b"N", b"G"
"""From a worker: bytes that a picture will take, in decimal digits; to it: go on, with as many
threads."""

CHUNK_BYTES = 256 << 10
"""Most bytes written at once."""

MAX_JSON_BYTES = 1 << 20
"""Longest record."""


def write_frame(file: BinaryIO, kind: bytes, data: bytes = b"") -> None:
    """Write one frame."""
    file.write(HEAD.pack(kind, len(data)))
    file.write(data)
    file.flush()


def read_frame(file: BinaryIO) -> tuple[bytes, bytes]:
    """Return kind and bytes of the next frame.

    Raises:
        EOFError: the other side has gone.
    """
    kind, length = HEAD.unpack(_read_exactly(file, HEAD.size))
    return kind, _read_exactly(file, length)


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
