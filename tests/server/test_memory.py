"""Pictures and answers share the server's memory, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from cmudrn.image import Picture, encode_picture
from cmudrn.models import ModelInfo
from cmudrn.models.registry import shipped_models
from cmudrn.restoration import RestoreSettings
from cmudrn.server import Limits
from cmudrn.server.body import Body
from cmudrn.server.budget import Allocation, Allocations, MemoryBudget
from cmudrn.server.processing import RestoreRequest, needed_bytes
from cmudrn.server.worker_pool import Delivery, WorkerPool


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scene(), 60)

    asyncio.run(whole())


def test_pictures_wait_in_turn_and_share_the_cores() -> None:
    async def scene() -> None:
        budget = MemoryBudget(100)
        allocations = Allocations(budget, cores=4)
        first, large, small = (Allocation(allocations) for _ in range(3))
        assert await first.take(60) == 4
        waiting_large = asyncio.ensure_future(large.take(1000))  # has the whole budget alone
        waiting_small = asyncio.ensure_future(small.take(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (waiting_large.done(), waiting_small.done()) == (False, False)
        assert not allocations.are_blocked  # the first one is at work, and will end
        first.shrink(20)
        await asyncio.sleep(0)
        assert allocations.are_blocked  # by an answer that nobody reads
        first.release()
        assert await waiting_large == 4
        assert budget.taken == 100
        large.release()
        large.release()
        assert await waiting_small == 4
        small.release()
        assert (budget.taken, allocations.working) == (0, 0)

    run(scene)


def test_one_that_leaves_while_it_waits_lets_the_next_one_in() -> None:
    async def scene() -> None:
        allocations = Allocations(MemoryBudget(100), cores=1)
        held, leaving, staying = (Allocation(allocations) for _ in range(3))
        await held.take(90)
        gone = asyncio.ensure_future(leaving.take(50))
        stays = asyncio.ensure_future(staying.take(10))
        await asyncio.sleep(0.01)
        gone.cancel()
        assert await stays == 1
        leaving.release()
        assert allocations.budget.taken == 100

    run(scene)


def make_body(side: int) -> Body:
    data = encode_picture(Picture(np.full((side, side, 3), 180, np.uint8)))
    body = Body(len(data), MemoryBudget(1 << 30))
    assert body.try_add(data)
    return body


async def read(delivery: Delivery) -> bytes:
    data = b"".join([chunk async for chunk in delivery.chunks()])
    delivery.close()
    return data


def test_large_pictures_are_restored_one_after_another(darkening_model: Path) -> None:
    """Each takes more than half of the memory; with a third one a client leaves meanwhile."""
    limits = Limits(workers=2, memory_bytes=7_000_000)
    request = RestoreRequest("tiny", format="png")

    async def scene() -> None:
        pool = WorkerPool({"tiny": str(darkening_model)}, limits)
        try:
            answers = [asyncio.ensure_future(pool.answer(request, make_body(200)))]
            answers.append(asyncio.ensure_future(pool.answer(request, make_body(200))))
            most = 0
            while not all(answer.done() for answer in answers):
                most = max(most, pool._allocations.working)
                await asyncio.sleep(0.002)
            assert most == 1
            bodies = [await read(answer.result()) for answer in answers]
            assert bodies[0] == bodies[1]
            while pool.running:
                await asyncio.sleep(0.01)
            assert pool._budget.taken == 0
            pool._budget.force(limits.memory_bytes)  # nothing is left
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.answer(request, make_body(200)), 0.3)
            pool._budget.release(limits.memory_bytes)
            assert await read(await pool.answer(request, make_body(40)))
        finally:
            await pool.close()

    run(scene)


def test_worker_processes_do_without_the_libraries_of_the_server() -> None:
    script = "import sys, cmudrn.server.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    loaded = set(done.stdout.decode().split())
    assert not loaded & {"fastapi", "starlette", "uvicorn", "onnxruntime", "torch"}


def info() -> ModelInfo:
    from cmudrn.models.model_file import make_info, read_model_file

    return make_info(read_model_file(shipped_models()["drn-rain"].path))


@pytest.mark.parametrize(
    ("request_", "pixels", "pixel_bytes", "file_bytes", "megabytes"),
    [
        (RestoreRequest("m"), 25_000_000, 3, 1 << 20, (255, 270)),
        (RestoreRequest("m", RestoreSettings(0.0), format="bmp"), 25_000_000, 3, 0, (220, 230)),
        (RestoreRequest("m", format="webp"), 8_000_000, 3, 0, (400, 430)),
        (RestoreRequest("m"), 100, 3, 64 << 20, (67, 68)),
        (RestoreRequest("m"), 10_000, 6, 0, (1, 2)),
        (RestoreRequest("m", view="removed"), 12_500_000, 3, 0, (230, 245)),
    ],
)
def test_what_a_picture_will_take_is_told_from_its_header(
    request_: RestoreRequest,
    pixels: int,
    pixel_bytes: int,
    file_bytes: int,
    megabytes: tuple[int, int],
) -> None:
    needed = needed_bytes(pixels, pixel_bytes, file_bytes, request_, info())
    assert megabytes[0] <= needed / 1e6 <= megabytes[1]
