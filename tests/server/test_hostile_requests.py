"""Requests that no browser sends: each gets a short answer or none, and others are served on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from starlette.datastructures import Headers
from support.serving import serving

from cmudrn.image import Picture, encode_picture
from cmudrn.server import Limits
from cmudrn.server.body import Body, _read_form
from cmudrn.server.budget import MemoryBudget
from cmudrn.server.problems import Problem
from cmudrn.server.security import Guard

PICTURE = encode_picture(Picture(np.full((24, 32, 3), 200, np.uint8)))
HOST = b"Host: 127.0.0.1\r\n"
CHUNKED = b"POST /restore HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    length = b"" if b"Content-Length" in lines else b"Content-Length: %d\r\n" % len(body)
    return b"POST /restore HTTP/1.1\r\n" + HOST + length + lines + b"\r\n" + body


def get(path: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


@pytest.fixture(scope="module")
def address(darkening_model: Path) -> Iterator[str]:
    limits = Limits(workers=1, waiting=2, bytes=1 << 20, pixels=100_000, stall_seconds=2.0)
    with serving(darkening_model, limits) as address:
        yield address


def ask(address: str, sent: bytes, seconds: float = 3.0) -> bytes:
    """Return what comes back until the server closes, or nothing more for a while."""
    host, port = address.removeprefix("http://").split(":")
    received = bytearray()
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                received += chunk
    return bytes(received)


def check_others(address: str) -> None:
    assert httpx.get(f"{address}/health", timeout=20).status_code == 200
    assert httpx.post(f"{address}/restore", content=PICTURE, timeout=60).status_code == 200


REFUSED: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (b"400",)),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", (b"400",)),
    "two hosts": (get(b"/health", b"Host: evil.example"), (b"400", b"421")),
    "a host with a path": (
        get(b"/health").replace(b"127.0.0.1", b"evil.example/127.0.0.1"),
        (b"421",),
    ),
    "a host with a user": (
        get(b"/health").replace(b"127.0.0.1", b"127.0.0.1@evil.example"),
        (b"400", b"421"),
    ),
    "an address of another host": (get(b"http://evil.example/health"), (b"200", b"404", b"421")),
    "a proxy's method": (
        b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        (b"404", b"405"),
    ),
    "a header of 100 kB": (get(b"/health", b"A: " + b"a" * 100_000), (b"400", b"431")),
    "headers of 100 kB": (get(b"/health", *[b"A: b"] * 20_000), (b"400", b"431")),
    "two lengths": (post(PICTURE, b"Content-Length: 1", b"Content-Length: 2"), (b"400",)),
    "a negative length": (post(PICTURE, b"Content-Length: -1"), (b"400",)),
    "a length of letters": (post(PICTURE, b"Content-Length: 1e9"), (b"400",)),
    "an endless length": (post(b"", b"Content-Length: 9999999999999999999"), (b"413",)),
    "an unknown encoding": (post(PICTURE, b"Transfer-Encoding: gzip"), (b"400", b"501")),
    "a length and chunks": (post(PICTURE, b"Transfer-Encoding: chunked"), (b"400",)),
    "a chunk of endless length": (CHUNKED + b"f" * 30 + b"\r\n", (b"400",)),
    "chunks of one byte": (CHUNKED + b"1\r\nx\r\n" * 100_000, (b"400",)),
    "a body that is packed": (post(PICTURE, b"Content-Encoding: gzip"), (b"200", b"415", b"422")),
    "a page of another port": (
        post(PICTURE, b"Origin: http://127.0.0.1:1", b"Sec-Fetch-Site: same-site"),
        (b"403",),
    ),
    "a null origin": (post(PICTURE, b"Origin: null"), (b"403",)),
    "a file of the system": (get(b"/../../../../etc/passwd"), (b"404",)),
    "an encoded file of the system": (get(b"/%2e%2e/%2e%2e/etc/passwd"), (b"404",)),
    "a form of a thousand files": (
        post(
            b"".join(
                b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n'
                for _ in range(1000)
            )
            + b"--b--\r\n",
            b"Content-Type: multipart/form-data; boundary=b",
        ),
        (b"422",),
    ),
    "a form with a boundary of 10 kB": (
        post(PICTURE, b"Content-Type: multipart/form-data; boundary=" + b"b" * 10_000),
        (b"400", b"422"),
    ),
}
"""What is sent, and which statuses may come back."""


@pytest.mark.parametrize("what", REFUSED)
def test_odd_requests_get_a_short_answer(what: str, address: str) -> None:
    sent, statuses = REFUSED[what]
    received = ask(address, sent, 5.0 if b"200" in statuses else 20.0)
    assert received.startswith(tuple(b"HTTP/1.1 " + status for status in statuses)), received[:200]
    assert len(received) < 20_000 and b"Traceback" not in received and b"root:" not in received
    assert httpx.get(f"{address}/health", timeout=20).status_code == 200


def test_nothing_is_upgraded(address: str) -> None:
    asked = get(
        b"/health", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    assert ask(address, asked).startswith(b"HTTP/1.1 200 ")
    assert b" 101 " not in ask(address, get(b"/restore", b"Upgrade: h2c", b"Connection: Upgrade"))
    check_others(address)


def test_ranges_are_not_kept_to(address: str) -> None:
    ranges = b"Range: bytes=" + b",".join(b"0-" for _ in range(2000))
    received = ask(address, get(b"/app.js", ranges))
    assert received.startswith(b"HTTP/1.1 200 ") and b"multipart/byteranges" not in received


def test_requests_in_a_row_are_answered_in_order(address: str) -> None:
    sent = get(b"/health") * 50 + post(PICTURE) * 3 + get(b"/nothing", b"Connection: close")
    received = ask(address, sent, 30.0)
    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200"] * 53 + [b"404"]


def test_chunks_of_some_size_are_taken(address: str) -> None:
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(part), part)
        for part in (PICTURE[start : start + 4096] for start in range(0, len(PICTURE), 4096))
    )
    received = ask(
        address,
        CHUNKED.replace(HOST, HOST + b"Connection: close\r\n") + pieces + b"0\r\n\r\n",
        30.0,
    )
    assert received.startswith(b"HTTP/1.1 200 ")
    check_others(address)


def test_others_are_served_while_a_form_is_taken_apart() -> None:
    """The loop of the server takes its turn after each slice."""

    async def scene() -> int:
        head = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        form = head + b"\r\n-" * (1 << 18) + b"\r\n--b--\r\n"
        received = Body(len(form), MemoryBudget(1 << 30))
        assert received.try_add(form)
        kind = Headers({"content-type": "multipart/form-data; boundary=b"})
        reading = asyncio.ensure_future(_read_form(kind, received))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert len(await reading) == 3 << 18
        return turns

    assert asyncio.run(scene()) >= 12


@pytest.mark.parametrize("host", [{}, {"host": "evil.example"}])
def test_a_foreign_origin_is_refused_whatever_the_host(host: dict[str, str]) -> None:
    """HTTP/1.0 names no host, and a server may answer to every one."""
    guard = Guard(_unreachable, ["*"], 0, lambda: None)
    headers = Headers({**host, "origin": "http://other.example"})
    with pytest.raises(Problem) as refused:
        guard._check({"type": "http", "method": "POST", "path": "/restore"}, headers)
    assert refused.value.status == 403


async def _unreachable(*_: object) -> None:
    raise AssertionError
