"""Put load on a server of this machine: 16 clients for 60 s, then 10,000 requests.

    python benchmarks/server_load.py

Starts `cmudrn serve` on a free port of 127.0.0.1 and connects to nothing else. Ends by itself, at
the latest after --minutes. Prints answers by status, percentiles of the response time, and the
memory of the server over time. Fails if an answer is neither 200 nor 503, if a 503 has no
Retry-After, or if memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from cmudrn.image import Picture, encode_picture

GROWTH_MB = 32
"""How much the server's memory may grow between the first and the last tenth of the time."""


@dataclass
class Result:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those answered with 200
    memory_mb: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def make_pictures(side: int) -> list[bytes]:
    """Return files of every format: noise over a slope, (side, 3/2 side) pixels."""
    rng = np.random.default_rng(0)
    slope = np.linspace(60, 200, side * side * 3 // 2).reshape(side, -1, 1)
    pixels = (slope + rng.normal(0, 15, (*slope.shape[:2], 3))).clip(0, 255).astype(np.uint8)
    formats = ("jpeg", "png", "webp", "tiff", "bmp")
    return [encode_picture(Picture(pixels, format=name)) for name in formats]


def memory_of(process: int) -> float:
    """Return a process's resident memory, MB (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


async def visit(client: httpx.AsyncClient, pictures: list[bytes], number: int, to: Result) -> None:
    """Send one picture and note what came back."""
    started = time.perf_counter()
    answer = await client.post("/restore", content=pictures[number % len(pictures)])
    to.statuses[answer.status_code] += 1
    if answer.status_code == 200:
        to.seconds.append(time.perf_counter() - started)
    elif answer.status_code != 503 or not answer.headers.get("retry-after"):
        to.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
    else:
        await asyncio.sleep(0.05)


async def load(
    address: str, process: int, clients: int, seconds: float, requests: int, side: int
) -> Result:
    """Visit with so many clients at once until either the time or the number is reached."""
    result, numbers, pictures = Result(), iter(range(requests)), make_pictures(side)
    end = time.monotonic() + seconds

    async def work(client: httpx.AsyncClient) -> None:
        for number in numbers:
            if time.monotonic() > end or result.wrong:
                return
            await visit(client, pictures, number, result)

    async def look() -> None:
        while True:
            result.memory_mb.append(memory_of(process))
            await asyncio.sleep(0.25)

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        for number in range(4 * len(pictures)):  # every worker opens its engine and its codecs
            await visit(client, pictures, number, Result())
        looking = asyncio.ensure_future(look())
        await asyncio.gather(*(work(client) for _ in range(clients)))
    looking.cancel()
    return result


def tell(title: str, result: Result, seconds: float) -> None:
    """Print what the clients saw."""
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(result.statuses.items()))
    p50, p95, p99 = np.percentile(result.seconds, (50, 95, 99), method="higher")
    tenth = max(1, len(result.memory_mb) // 10)
    first, last = (
        np.median(part) for part in (result.memory_mb[:tenth], result.memory_mb[-tenth:])
    )
    print(f"{title}: {sum(result.statuses.values())} requests in {seconds:.0f} s: {answers}")
    print(f"  answered in p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s")
    print(
        f"  memory {first:.0f} MB at first, {last:.0f} MB at last, most {max(result.memory_mb):.0f}"
    )
    for sentence in result.wrong[:5]:
        print(f"  wrong: {sentence}")
    if result.wrong or last - first > GROWTH_MB:
        sys.exit(1)


def main() -> None:
    """Start a server, load it twice, stop it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=20, help="for the requests, at most")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "cmudrn", "serve", "--port", "0"]
    before = set(Path(tempfile.gettempdir()).iterdir())
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert found, "the server did not start"
            for title, clients, seconds, requests, side in (
                ("clients", asked.clients, asked.seconds, 1_000_000, 240),
                ("requests", 8, 60 * asked.minutes, asked.requests, 32),
            ):
                started = time.monotonic()
                coroutine = load(found[0], server.pid, clients, seconds, requests, side)
                tell(title, asyncio.run(coroutine), time.monotonic() - started)
        finally:
            server.terminate()
    left = [path.name for path in set(Path(tempfile.gettempdir()).iterdir()) - before]
    print(f"left in the folder for temporary files: {', '.join(left) or 'nothing'}")


if __name__ == "__main__":
    main()
