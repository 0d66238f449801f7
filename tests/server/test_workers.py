"""Worker processes are stopped and replaced, whatever an image does to them."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.server import Limits, worker_pool
from cmudrn.server.body import Body
from cmudrn.server.budget import MemoryBudget
from cmudrn.server.problems import Problem
from cmudrn.server.processing import RestoreRequest
from cmudrn.server.worker_pool import Delivery, WorkerPool, WorkerProcess

REQUEST = RestoreRequest("tiny")
LIMITS = Limits(workers=1)

OBEDIENT = """
    import json, sys, time
    from cmudrn.server import frames
    inbox, outbox = sys.stdin.buffer, sys.stdout.buffer
    time.sleep({start_seconds})
    frames.write_frame(outbox, frames.READY)
    while True:
        kind, data = frames.read_frame(inbox)
        if kind == frames.STOP:
            frames.write_frame(outbox, frames.STOPPED)
        elif kind == frames.PICTURE:
            {work}
"""
"""A worker that does as told but for the work."""


def worker(work: str, memory: int = 1 << 30, start_seconds: float = 0.0) -> WorkerProcess:
    script = textwrap.dedent(OBEDIENT).format(work=work, start_seconds=start_seconds)
    return WorkerProcess([sys.executable, "-P", "-c", script], memory)


async def one_thread(_needed: int) -> int:
    return 1


def make_body(data: bytes = b"x") -> Body:
    body = Body(len(data), MemoryBudget(1 << 30))
    assert body.try_add(data)
    return body


def make_file(side: int = 40) -> tuple[bytes, Picture]:
    rng = np.random.default_rng(4)
    picture = Picture(rng.integers(128, 255, (side, side + 8, 3), dtype=np.uint8))
    return encode_picture(picture), picture


async def read(delivery: Delivery) -> bytes:
    data = b"".join([chunk async for chunk in delivery.chunks()])
    delivery.close()
    return data


def with_pool(model: Path, limits: Limits, scene: Callable[[WorkerPool], Awaitable[None]]) -> None:
    async def run() -> None:
        pool = WorkerPool({"tiny": str(model)}, limits)
        try:
            await asyncio.wait_for(scene(pool), 60)
        finally:
            await pool.close()

    asyncio.run(run())


async def settled(pool: WorkerPool) -> None:
    while pool.running:
        await asyncio.sleep(0.01)


def test_answers_come_one_after_another(darkening_model: Path) -> None:
    data, picture = make_file()

    async def scene(pool: WorkerPool) -> None:
        answers = []
        for _ in range(3):
            delivery = await pool.answer(REQUEST, make_body(data))
            answers.append(await read(delivery))
            assert delivery.head.pixels == 40 * 48
        assert answers[0] == answers[1] == answers[2]
        restored = read_picture(answers[0]).pixels.astype(int)
        np.testing.assert_allclose(picture.pixels - restored, 0.2 * 255, atol=1)
        await settled(pool)

    with_pool(darkening_model, LIMITS, scene)


def test_a_stopped_answer_leaves_the_worker_usable(darkening_model: Path) -> None:
    data, _ = make_file(1200)

    async def scene(pool: WorkerPool) -> None:
        for seconds in (0.01, 0.3, 0.6):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.answer(REQUEST, make_body(data)), seconds)
        small, _ = make_file()
        assert await read(await pool.answer(REQUEST, make_body(small)))

    with_pool(darkening_model, LIMITS, scene)


def test_an_answer_that_nobody_reads_is_let_go(darkening_model: Path) -> None:
    data, _ = make_file(700)

    async def scene(pool: WorkerPool) -> None:
        unread = await pool.answer(RestoreRequest("tiny", format="bmp"), make_body(data))
        while not pool.is_blocked:
            await asyncio.sleep(0.01)
        unread.close()
        await settled(pool)
        assert not pool.is_blocked
        small, _ = make_file()
        assert await read(await pool.answer(REQUEST, make_body(small)))

    with_pool(darkening_model, replace(LIMITS, memory_bytes=300_000), scene)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("frames.write_frame(outbox, frames.FAILURE, b'{{}}')", 500),
        ("sys.exit(3)", 500),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 500),
        ("waste = bytearray(b'1') * (1 << 28); time.sleep(30)", 413),
    ],
)
def test_a_worker_that_breaks_is_a_problem(work: str, status: int) -> None:
    if status == 413 and not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell how much memory a process takes")

    async def scene() -> None:
        process = worker(work, memory=150 << 20)
        watcher = asyncio.ensure_future(process.watch())
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(process.work(REQUEST, make_body(), one_thread), 120)
        assert caught.value.status == status
        watcher.cancel()
        await process.end()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("work", "is_kept"), [("pass", True), ("time.sleep(60)", False), ("sys.exit(1)", False)]
)
def test_a_worker_that_does_not_stop_is_replaced(
    work: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_kept:  # however busy the machine is
        monkeypatch.setattr(worker_pool, "GRACE_SECONDS", 30.0)

    async def scene() -> None:
        process = worker(work)
        await process.start()
        await process._wait_until_ready()
        with pytest.raises((TimeoutError, Problem)):
            await asyncio.wait_for(process.work(REQUEST, make_body(), one_thread), 1)
        before = process.process_id
        started = time.monotonic()
        await process.settle()
        assert time.monotonic() - started < 40
        assert (process.process_id == before) == is_kept
        await process.end()

    asyncio.run(scene())


def test_a_worker_that_starts_slowly_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a start may take longer than a picture: no request may restart it."""
    monkeypatch.setattr(worker_pool, "GRACE_SECONDS", 0.01)

    async def scene() -> None:
        process = worker("frames.write_frame(outbox, frames.FAILURE, b'{{}}')", start_seconds=0.6)
        await process.start()
        before = process.process_id
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(
                    process.work(REQUEST, make_body(bytes(1 << 20)), one_thread), 0.05
                )
        await process.settle()
        assert process.process_id == before
        with pytest.raises(Problem):
            await asyncio.wait_for(process.work(REQUEST, make_body(), one_thread), 120)
        assert process.process_id == before
        await process.end()

    asyncio.run(scene())


def test_workers_end_with_the_server(darkening_model: Path) -> None:
    """A worker in the middle of a picture sees that its server is gone."""
    script = f"""
        import asyncio, os, sys
        from cmudrn.server import Limits
        from cmudrn.server.worker_pool import WorkerPool

        async def main():
            pool = WorkerPool({{"tiny": {str(darkening_model)!r}}}, Limits(workers=1))
            await pool.start()
            print(pool._workers[0].process_id, flush=True)
            os._exit(0)

        asyncio.run(main())
    """

    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(script), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()  # ends when the worker has let go of it, too
        deadline = time.monotonic() + 20
        while Path(f"/proc/{int(told)}").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    if not Path("/proc/self").exists():
        pytest.skip("this system does not list its processes as files")
    asyncio.run(scene())


def test_a_budget_is_kept() -> None:
    async def scene() -> None:
        budget = MemoryBudget(10)
        assert budget.try_take(7)
        assert not budget.try_take(4)
        waiting = asyncio.ensure_future(budget.take(4))
        await asyncio.sleep(0)
        assert (budget.waiting, waiting.done()) == (1, False)
        budget.release(2)
        await waiting
        assert (budget.taken, budget.waiting) == (9, 0)

    asyncio.run(scene())
