"""Attack a server of this machine as a hostile client would, and measure what others notice.

    python tools/attack_server.py

Starts `cmudrn serve` with its usual limits on a free port of 127.0.0.1 for each attack, talks to
nothing else, and ends by itself after some three minutes. While an attack lasts, `/health` is asked
five times a second. Prints its slowest answer, what a small picture was answered, and the greatest
memory of the server, of its largest worker, and of all its processes together, where what several
share counts once. Fails if an answer of `/health` took a second, if no
picture was restored, or if the server took 400 MB. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import resource
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from cmudrn.image import Picture, encode_picture

MAX_SECONDS = 1.0
MAX_MB = 400.0


@dataclass
class Report:
    """What was seen during one attack."""

    health_seconds: float = 0.0
    health_failures: int = 0
    pictures: Counter[int] = field(default_factory=Counter)
    server_mb: float = 0.0
    worker_mb: float = 0.0
    all_mb: float = 0.0
    log_bytes: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether others noticed too much."""
        slow = self.health_failures > 0 or self.health_seconds >= MAX_SECONDS
        return slow or not self.pictures[200] or self.server_mb >= MAX_MB


def resident_mb(process: int) -> float:
    """Return a process's resident memory, MB; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


def proportional_mb(process: int) -> float:
    """Return a process's memory, MB, with its share of what it shares; 0 where it has ended."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1000 if found else 0.0


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError):
        lists = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
        return [int(child) for text in lists for child in text.split()]
    return []


@contextlib.contextmanager
def serving(files: int | None, log: Path) -> Iterator[tuple[str, int]]:
    """Yield address and process of a server; files is its limit on open ones."""

    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    program = [sys.executable, "-m", "cmudrn", "serve", "--port", "0", "--seconds", "20"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=errors, preexec_fn=limit
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(rb"http://\S+", process.stdout.readline())
            assert found, log.read_text(encoding="utf-8")
            yield found[0].decode(), process.pid
        finally:
            process.terminate()
            process.wait(30)


def watch(address: str, process: int, report: Report, stop: threading.Event) -> None:
    """Ask for the server's health, and note its memory, until told to stop."""
    while not stop.wait(0.2):
        started = time.monotonic()
        try:
            assert httpx.get(f"{address}/health", timeout=10).status_code == 200
        except (httpx.HTTPError, AssertionError):
            report.health_failures += 1
        report.health_seconds = max(report.health_seconds, time.monotonic() - started)
        report.server_mb = max(report.server_mb, resident_mb(process))
        found = children(process)
        workers = [resident_mb(child) for child in found]
        report.all_mb = max(report.all_mb, sum(map(proportional_mb, [process, *found])))
        report.worker_mb = max([report.worker_mb, *workers])


def visit(address: str, report: Report, stop: threading.Event) -> None:
    """Have a small picture restored every second, as an honest client does."""
    body = encode_picture(Picture(np.full((64, 64, 3), 180, np.uint8)))
    while not stop.wait(1.0):
        with contextlib.suppress(httpx.HTTPError):
            status = httpx.post(f"{address}/restore", content=body, timeout=60).status_code
            report.pictures[status] += 1


def connect(address: str, sent: bytes) -> socket.socket:
    """Return a connection with a small window on which something was sent."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(10)
    connection.connect((host, int(port)))
    with contextlib.suppress(OSError):
        connection.sendall(sent)
    return connection


def restore(body: bytes, query: str = "", length: int | None = None) -> bytes:
    """Return a request to /restore."""
    head = f"POST /restore{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: "
    return f"{head}{len(body) if length is None else length}\r\n\r\n".encode() + body


def hold(address: str, sent: bytes, count: int, seconds: float) -> None:
    """Keep many connections open on which the same was sent, and read nothing."""
    opened = []
    with contextlib.suppress(OSError):
        for _ in range(count):
            opened.append(connect(address, sent))
    time.sleep(seconds)
    for connection in opened:
        connection.close()


def post(address: str, body: bytes, count: int = 2) -> None:
    """Send a picture and print what is answered."""
    for _ in range(count):
        started = time.monotonic()
        answer = httpx.post(f"{address}/restore", content=body, timeout=60)
        print(f"  {answer.status_code} after {time.monotonic() - started:.2f} s: {answer.text}")


def chunk(name: bytes, body: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def empty_segments(address: str) -> None:
    """Send a JPEG of 60 MiB of empty comments."""
    jpeg = encode_picture(Picture(np.zeros((16, 16, 3), np.uint8)), "jpeg")
    post(address, jpeg[:2] + b"\xff\xfe\0\2" * (15 << 20) + jpeg[2:])


def empty_chunks(address: str) -> None:
    """Send a PNG of 320,000 empty texts."""
    png = encode_picture(Picture(np.zeros((16, 16, 3), np.uint8)), "png")
    post(address, png[:33] + chunk(b"tEXt") * 320_000 + png[33:])


def unread_answers(address: str) -> None:
    """Ask twelve times for 75 MB and read none of it."""
    png = encode_picture(Picture(np.full((5000, 5000, 3), 90, np.uint8)), "png")
    hold(address, restore(png, "?strength=0&format=bmp"), 12, 40)


def half_headers(address: str) -> None:
    """Open 150 connections and send half a header on each."""
    hold(address, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-a: ", 150, 20)


def slow_uploads(address: str) -> None:
    """Open ten connections and send one byte of a picture on each."""
    hold(address, restore(b"x", length=100_000), 10, 20)


def tiny_chunks(address: str) -> None:
    """Send 8 MB in chunks of one byte on each of twenty connections."""
    head = b"POST /restore HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    hold(address, head + b"1\r\nx\r\n" * (8_000_000 // 6), 20, 5)


def large_forms(address: str) -> None:
    """Send forms of 60 MB, four at once."""
    part = b"--x\r\nContent-Disposition: form-data; name=picture; filename=p\r\n\r\n"
    body = part + bytes(60_000_000) + b"\r\n--x--\r\n"
    form = b"Content-Type: multipart/form-data; boundary=x\r\nHost: "
    hold(address, restore(body).replace(b"Host: ", form), 4, 10)


def stalled_uploads(address: str) -> None:
    """Send almost all of many large pictures, and no more."""
    hold(address, restore(bytes(12 << 20), length=13 << 20), 30, 20)


ATTACKS: dict[str, tuple[Callable[[str], None], int | None]] = {
    "empty JPEG segments, 60 MiB": (empty_segments, None),
    "empty PNG chunks, 320,000": (empty_chunks, None),
    "unread answers, 12 of 75 MB": (unread_answers, None),
    "half headers, 150, at 120 open files": (half_headers, 120),
    "one-byte uploads, 10": (slow_uploads, None),
    "stalled uploads, 30 of 12 MiB": (stalled_uploads, None),
    "forms of 60 MB, 4": (large_forms, None),
    "chunks of one byte, 20 x 8 MB": (tiny_chunks, None),
}


def main() -> int:
    """Run the attacks one after another and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--log", type=Path, default=Path("attack_server.log"))
    parser.add_argument("--only", default="", help="Run the attacks whose name has this in it.")
    asked = parser.parse_args()
    log, reports = asked.log, {}
    for name, (attack, files) in ATTACKS.items():
        if asked.only not in name:
            continue
        print(name, flush=True)
        report, stop = Report(), threading.Event()
        with serving(files, log) as (address, process):
            for _ in range(2):  # both workers have opened their model
                httpx.post(f"{address}/restore", content=b"x", timeout=60)
            watchers = [
                threading.Thread(target=watch, args=(address, process, report, stop)),
                threading.Thread(target=visit, args=(address, report, stop)),
            ]
            for thread in watchers:
                thread.start()
            attack(address)
            time.sleep(2)
            stop.set()
            for thread in watchers:
                thread.join()
        report.log_bytes = log.stat().st_size
        reports[name] = report
    print("| attack | slowest health | pictures | server | largest worker | together | log |")
    print("|---|---|---|---|---|---|---|")
    for name, report in reports.items():
        pictures = ", ".join(f"{count} x {status}" for status, count in report.pictures.items())
        failed = f" ({report.health_failures} failed)" if report.health_failures else ""
        print(
            f"| {name} | {report.health_seconds:.2f} s{failed} | {pictures} | "
            f"{report.server_mb:.0f} MB | {report.worker_mb:.0f} MB | {report.all_mb:.0f} MB | "
            f"{report.log_bytes} B |"
        )
    return int(any(report.is_bad for report in reports.values()))


if __name__ == "__main__":
    sys.exit(main())
