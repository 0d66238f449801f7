"""The bounded line: refusals, deadlines, and work that stops when its client leaves."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.serving import serving  # noqa: E402

from cmudrn.server import Limits, app  # noqa: E402
from cmudrn.server import processing as work
from cmudrn.server.problems import Problem  # noqa: E402
from cmudrn.server.queue import ClientLeft, Queue, Ticket  # noqa: E402


async def never() -> None:
    await asyncio.Event().wait()


async def soon() -> None:
    await asyncio.sleep(0.05)


def until_stopped(ticket: Ticket) -> None:
    while True:
        ticket.check()
        time.sleep(0.005)


def test_a_job_returns_its_result_and_frees_its_place() -> None:
    async def scene() -> None:
        queue = Queue(Limits(workers=1, waiting=0))
        with queue.place():
            assert await queue.run(lambda _: 42, never()) == 42
        await asyncio.sleep(0)
        assert (queue.taken, queue.running) == (0, 0)
        queue.close()

    asyncio.run(scene())


def test_a_job_stops_when_its_client_leaves() -> None:
    async def scene() -> None:
        queue = Queue(Limits(workers=1))
        with pytest.raises(ClientLeft):
            await asyncio.wait_for(queue.run(until_stopped, soon()), 5)
        queue.close()

    asyncio.run(scene())


def test_a_waiting_job_never_starts_when_its_client_left() -> None:
    started = []

    async def scene() -> None:
        queue = Queue(Limits(workers=1))
        release = threading.Event()
        first = asyncio.ensure_future(queue.run(lambda _: release.wait(5), never()))
        second = asyncio.ensure_future(queue.run(lambda _: started.append(1), soon()))
        await asyncio.sleep(0.2)
        release.set()
        assert await first is True
        with pytest.raises(ClientLeft):
            await second
        queue.close()

    asyncio.run(scene())
    assert started == []


def test_a_job_ends_at_its_deadline() -> None:
    async def scene() -> None:
        queue = Queue(Limits(workers=1, seconds=0.05))
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(queue.run(until_stopped, never()), 5)
        assert caught.value.status == 504
        queue.close()

    asyncio.run(scene())


def test_the_event_loop_is_free_while_a_job_works() -> None:
    async def scene() -> int:
        queue = Queue(Limits(workers=1))
        job = asyncio.ensure_future(queue.run(lambda _: time.sleep(0.3), never()))
        beats = 0
        while not job.done():
            await asyncio.sleep(0.01)
            beats += 1
        queue.close()
        return beats

    assert asyncio.run(scene()) > 10


def test_a_full_server_answers_503_with_retry_after(
    darkening_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def blocked(*_: object) -> work.Answer:
        release.wait(20)
        return work.Answer(b"done", "image/png", (), 1, 0.1)

    monkeypatch.setattr(app, "process_request", blocked)
    with (
        serving(darkening_model, Limits(workers=1, waiting=2)) as address,
        ThreadPoolExecutor(3) as pool,
    ):
        jobs = [pool.submit(httpx.post, f"{address}/restore", content=b"x") for _ in range(3)]
        wait_for(address, lambda health: health["running"] + health["waiting"] == 3)
        answers = [httpx.post(f"{address}/restore", content=bytes(5_000_000)) for _ in range(4)]
        release.set()
        assert [job.result().status_code for job in jobs] == [200] * 3
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)


def test_work_stops_when_a_connection_closes(
    darkening_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome: list[str] = []

    def endless(_data: bytes, _order: object, _restorer: object, _limits: object, ticket: Ticket):
        try:
            until_stopped(ticket)
        except ClientLeft:
            outcome.append("stopped")
            raise

    monkeypatch.setattr(app, "process_request", endless)
    with serving(darkening_model, Limits(workers=1, waiting=0)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
            )
            wait_for(address, lambda health: health["running"] == 1)
        wait_for(address, lambda health: health["running"] + health["waiting"] == 0)
        text = httpx.get(f"{address}/metrics").text
    assert outcome == ["stopped"]
    assert "cmudrn_departures_total 1.0" in text


def test_a_server_that_stops_answers_what_it_works_on(
    darkening_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = threading.Event()

    def blocked(*_: object) -> work.Answer:  # a large tile, in which no ticket is looked at
        release.wait(20)
        return work.Answer(b"done", "image/png", (), 1, 0.1)

    def ask(address: str) -> httpx.Response:
        try:
            return httpx.post(f"{address}/restore", content=b"x", timeout=30)
        finally:
            release.set()

    monkeypatch.setattr(app, "process_request", blocked)
    with ThreadPoolExecutor(2) as pool:
        with serving(darkening_model, Limits(workers=1, waiting=1)) as address:
            jobs = [pool.submit(ask, address) for _ in range(2)]
            wait_for(address, lambda health: (health["running"], health["waiting"]) == (1, 1))
        answers = [job.result() for job in jobs]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "The server is stopping."
    assert "Traceback" not in capsys.readouterr().err


def test_a_server_that_stops_does_not_wait_for_an_upload(
    darkening_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as connection:
        with serving(darkening_model, Limits(workers=1)) as address:
            host, port = address.removeprefix("http://").split(":")
            connection.connect((host, int(port)))
            connection.sendall(
                b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx"
            )
            wait_for(address, lambda health: health["waiting"] == 1)
        connection.settimeout(5)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ") and b"The server is stopping." in answer
    assert "Traceback" not in capsys.readouterr().err


def wait_for(address: str, condition) -> None:
    deadline = time.monotonic() + 10
    while not condition(httpx.get(f"{address}/health").json()):
        assert time.monotonic() < deadline, "the server did not get there in 10 s"
        time.sleep(0.02)
