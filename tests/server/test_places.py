"""A bounded number of images: refusals, deadlines, and work that stops with its client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from support.serving import serving

from cmudrn.server import Limits
from cmudrn.server.body import Body
from cmudrn.server.places import Places
from cmudrn.server.problems import Problem
from cmudrn.server.processing import RestoreRequest
from cmudrn.server.worker_pool import Delivery, WorkerPool

SENT = b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx"
UNFINISHED = b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx"


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that the work on every picture waits for."""
    event = threading.Event()
    answer = WorkerPool.answer

    async def held_back(pool: WorkerPool, request: RestoreRequest, body: Body) -> Delivery:
        while not event.is_set():
            await asyncio.sleep(0.01)
        return await answer(pool, request, body)

    monkeypatch.setattr(WorkerPool, "answer", held_back)
    return event


def connect(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def wait_for(address: str, condition: Callable[[dict[str, int]], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition(httpx.get(f"{address}/health", timeout=300).json()):
        assert time.monotonic() < deadline, "the server did not get there in 120 s"
        time.sleep(0.02)


def test_places_are_counted_and_given_back() -> None:
    places = Places(2, lambda: 7.2)
    with places.hold(), places.hold():
        with pytest.raises(Problem) as caught, places.hold():
            pass
        assert caught.value.status == 503
        assert caught.value.headers["Retry-After"] == "8"
    assert places.taken == 0


def test_a_full_server_answers_503_with_retry_after(
    darkening_model: Path, release: threading.Event
) -> None:
    with (
        serving(darkening_model, Limits(workers=1, waiting=2)) as address,
        ThreadPoolExecutor(3) as pool,
    ):
        jobs = [
            pool.submit(httpx.post, f"{address}/restore", content=b"x", timeout=300)
            for _ in range(3)
        ]
        wait_for(address, lambda health: health["running"] + health["waiting"] == 3)
        answers = [
            httpx.post(f"{address}/restore", content=bytes(5_000_000), timeout=300)
            for _ in range(4)
        ]
        release.set()
        assert [job.result().status_code for job in jobs] == [422] * 3
        wait_for(address, lambda health: health["running"] + health["waiting"] == 0)
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)


def test_work_stops_when_a_connection_closes(
    darkening_model: Path, release: threading.Event
) -> None:
    with serving(darkening_model, Limits(workers=1, waiting=0)) as address:
        with connect(address) as connection:
            connection.sendall(SENT)
            wait_for(address, lambda health: health["waiting"] == 1)
        wait_for(address, lambda health: health["waiting"] == 0)
        text = httpx.get(f"{address}/metrics", timeout=300).text
    assert not release.is_set()
    assert "cmudrn_departures_total 1.0" in text


def test_a_picture_ends_at_its_deadline(darkening_model: Path, release: threading.Event) -> None:
    with serving(darkening_model, Limits(workers=1, seconds=0.3)) as address:
        answer = httpx.post(f"{address}/restore", content=b"x", timeout=300)
        wait_for(address, lambda health: health["waiting"] == 0)
    assert not release.is_set()
    assert answer.status_code == 504
    assert answer.json()["detail"] == "Restoring this picture took longer than the server allows."


def test_a_server_that_stops_answers_what_it_works_on(
    darkening_model: Path, release: threading.Event, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        with serving(darkening_model, Limits(workers=1, waiting=1)) as address:
            jobs = [
                pool.submit(httpx.post, f"{address}/restore", content=b"x", timeout=300)
                for _ in range(2)
            ]
            wait_for(address, lambda health: health["waiting"] == 2)
        answers = [job.result() for job in jobs]
    assert not release.is_set()
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
            connection.sendall(UNFINISHED)
            wait_for(address, lambda health: health["receiving"] == 1)
        connection.settimeout(5)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"The server is stopping." in answer
    assert "Traceback" not in capsys.readouterr().err
