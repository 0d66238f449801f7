"""Slow and many clients: the server answers others all the while, in bounded memory.

Scaled down from `tools/attack_server.py`, which does the same to a server with its usual limits.
"""

from __future__ import annotations

import contextlib
import logging
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.serving import serving

from cmudrn.image import Picture, encode_picture
from cmudrn.server import Limits
from cmudrn.server.connections import RareFilter

HALF_HEADER = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: "
UNFINISHED = b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nx"
IMPATIENT = Limits(workers=1, waiting=3, header_seconds=1.0, stall_seconds=1.0)


@contextlib.contextmanager
def connections(address: str, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    host, port = address.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(20)
            one.connect((host, int(port)))
            with contextlib.suppress(OSError):  # it may have had to make room already
                one.sendall(sent)
            opened.append(one)
        yield opened


def drain(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return bytes(received)


def check_health(address: str) -> dict[str, int]:
    started = time.monotonic()
    answer = httpx.get(f"{address}/health", timeout=10)
    assert answer.status_code == 200
    assert time.monotonic() - started < 5  # a second where the machine has nothing else to do
    record: dict[str, int] = answer.json()
    return record


def make_file(side: int = 40) -> bytes:
    return encode_picture(Picture(np.full((side, side, 3), 200, np.uint8)))


def test_half_headers_are_closed_and_make_room(darkening_model: Path) -> None:
    limits = replace(IMPATIENT, connections=12, client_connections=12)
    with (
        serving(darkening_model, limits) as address,
        connections(address, 40, HALF_HEADER) as opened,
    ):
        check_health(address)
        assert httpx.post(f"{address}/restore", content=make_file(), timeout=30).is_success
        assert [drain(one) for one in opened] == [b""] * 40


def test_a_header_that_trickles_is_closed(darkening_model: Path) -> None:
    with (
        serving(darkening_model, IMPATIENT) as address,
        connections(address, 1, HALF_HEADER) as (one,),
    ):
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - started < 20:
                one.sendall(b"a")
                time.sleep(0.1)


def test_an_unwanted_body_does_not_keep_a_connection(darkening_model: Path) -> None:
    with (
        serving(darkening_model, IMPATIENT) as address,
        connections(address, 1, UNFINISHED.replace(b"POST /restore", b"GET /health")) as (one,),
    ):
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - started < 20:
                one.sendall(b"a")
                time.sleep(0.1)


def test_slow_uploads_take_no_place(darkening_model: Path) -> None:
    with (
        serving(darkening_model, replace(IMPATIENT, stall_seconds=60.0)) as address,
        connections(address, 10, UNFINISHED),
    ):
        while check_health(address)["receiving"] < 10:
            time.sleep(0.02)
        assert httpx.post(f"{address}/restore", content=make_file(), timeout=30).is_success
        assert check_health(address)["receiving"] == 10


def test_slow_uploads_are_ended(darkening_model: Path) -> None:
    with (
        serving(darkening_model, IMPATIENT) as address,
        connections(address, 3, UNFINISHED) as opened,
    ):
        for one in opened:
            assert drain(one).startswith(b"HTTP/1.1 408 ")
        assert check_health(address)["receiving"] == 0


def test_the_slowest_upload_makes_room_for_others(darkening_model: Path) -> None:
    limits = replace(IMPATIENT, bytes=200_000, stall_seconds=10.0, min_rate=1)
    sent = UNFINISHED.replace(b"100000", b"200000") + bytes(190_000)
    with serving(darkening_model, limits) as address, connections(address, 2, sent) as opened:
        while check_health(address)["receiving"] < 2:
            time.sleep(0.02)
        time.sleep(2.5)  # they had time to be fast
        statuses = set()
        while 200 not in statuses:
            padded = make_file() + bytes(150_000)
            statuses.add(httpx.post(f"{address}/restore", content=padded, timeout=30).status_code)
        assert statuses <= {200, 503}
        assert any(drain(one).startswith(b"HTTP/1.1 408 ") for one in opened[:1])


def test_unread_answers_are_bounded_and_closed(darkening_model: Path) -> None:
    body = make_file(1800)  # 9.7 MB as BMP: more than the system's own buffers hold
    asked = (
        b"POST /restore?strength=0&format=bmp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body
    limits = replace(IMPATIENT, memory_bytes=12 << 20)
    with serving(darkening_model, limits) as address, connections(address, 4, asked) as opened:
        assert opened[0].recv(12) == b"HTTP/1.1 200"  # the answer has begun
        deadline = time.monotonic() + 60
        while (health := check_health(address))["running"] + health["waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert all(len(drain(one)) < 9_720_000 for one in opened)
        assert httpx.post(f"{address}/restore", content=make_file(), timeout=30).is_success


def test_few_open_files_do_not_stop_the_server(darkening_model: Path, tmp_path: Path) -> None:
    files = 120
    program = [
        sys.executable, "-m", "cmudrn", "serve", "--port", "0", "--workers", "1",
        "--model", str(darkening_model),
    ]  # fmt: skip
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            program,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(rb"http://\S+", process.stdout.readline())
            assert found
            address = found[0].decode()
            with connections(address, files + 30, HALF_HEADER):
                for _ in range(5):
                    check_health(address)
                assert httpx.post(f"{address}/restore", content=make_file(), timeout=60).is_success
        finally:
            process.terminate()
            process.wait(20)
    assert (tmp_path / "log").stat().st_size < 4000


def test_a_sentence_is_logged_now_and_then() -> None:
    rare = RareFilter()
    passed = []
    for second in range(25):
        record = logging.LogRecord("x", logging.WARNING, "", 0, "Too many of %s.", ("x",), None)
        record.created = 1000.0 + second
        if rare.filter(record):
            passed.append(record.getMessage())
    assert passed == ["Too many of x.", *["Too many of x. (9 more like it)"] * 2]
