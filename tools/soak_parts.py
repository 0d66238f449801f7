"""The parts of tools/soak.py: what each does again and again, and how faults are made."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image as Pillow

COMMAND = [sys.executable, "-m", "cmudrn"]
SIZE = (160, 112)
PICTURES = 12
WAIT = 240.0
"""Seconds after which a command that should have ended counts as hanging; `--patience`."""


STARTS = 10
"""How often a batch is begun again where Ray did not start within its 30 s: a busy machine."""


@dataclass
class Count:
    """What one part has seen."""

    cycles: int = 0
    good: int = 0
    refused: int = 0
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    peak_mb: float = 0.0


class WrongError(Exception):
    """A cycle that did not end as it has to."""


def expect(condition: object, what: str) -> None:
    """Raise WrongError where something does not hold."""
    if not condition:
        raise WrongError(what)


def tree_mb(process: int) -> float:
    """Return the resident memory of a process and of those it started, MB."""
    total, waiting = 0.0, [process]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{one}/status").read_text())
            total += int(found[1]) / 1000 if found else 0.0
            for path in Path(f"/proc/{one}/task").glob("*/children"):
                waiting += map(int, path.read_text().split())
    return total


@contextlib.contextmanager
def running(count: Count, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process of the command in a group of its own; it is killed at the end."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.2):
            count.peak_mb = max(count.peak_mb, tree_mb(process.pid))

    threading.Thread(target=look, daemon=True).start()
    try:
        yield process
    finally:
        ended.set()
        kill(process)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def finish(count: Count, *arguments: str) -> tuple[int, str]:
    """Run a command to its end and return its exit code and what it printed."""
    with running(count, *arguments) as process:
        try:
            output = process.communicate(timeout=WAIT)[0]
        except subprocess.TimeoutExpired as error:
            raise WrongError(f"{arguments[0]} did not end") from error
        return process.returncode, output


def picture(seed: int) -> Pillow.Image:
    """Return a smooth picture with bright streaks."""
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 200, (7, 10, 3), dtype=np.uint8)
    pixels = np.asarray(Pillow.fromarray(small).resize(SIZE, Pillow.Resampling.BICUBIC)).copy()
    for _ in range(60):
        y, x = rng.integers(0, SIZE[1] - 12), rng.integers(0, SIZE[0])
        pixels[y : y + 12, x] = 235
    return Pillow.fromarray(pixels)


def damage(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes of a file cut short within its head, so that nothing can be read."""
    return data[: rng.randrange(8, 30)]


def files_of(folder: Path) -> dict[str, bytes]:
    """Return name -> bytes of all files below a folder."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def make_pictures(folder: Path) -> Path:
    """Return a folder of good pictures."""
    folder.mkdir(parents=True)
    for number in range(PICTURES):
        picture(number).save(folder / f"{number:02}.png")
    return folder


class BatchPart:
    """`batch` over a folder with a damaged file, killed at random and run again."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.source = make_pictures(folder / "source")
        (self.source / "damaged.png").write_bytes(
            damage((self.source / "00.png").read_bytes(), rng)
        )
        self.reference: dict[str, bytes] = {}

    def cycle(self, count: Count) -> None:
        """Run a batch to its end through some kills."""
        target = self.folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        arguments = ("batch", str(self.source), str(target), "--workers", "2")
        for _ in range(self.rng.randrange(3) if self.reference else 0):
            with running(count, *arguments) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.rng.uniform(1, 15))
                # All that it started dies with it, or has to see that it has gone.
                self.rng.choice((kill, subprocess.Popen.kill))(process)
                count.kills += 1
        for _ in range(STARTS):
            code, output = finish(count, *arguments)
            if "timed out during startup" not in output:
                break
        expect(code == 1 and "damaged.png" in output, f"exit code {code}: {output[-300:]}")
        results = {n: b for n, b in files_of(target).items() if n.endswith(".png")}
        self.reference = self.reference or results
        expect(len(results) == PICTURES and results == self.reference, "other results")
        count.refused += 1
        count.good += len(results)


class VideoPart:
    """`restore` of a clip, killed at random and run again."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        import av

        self.folder, self.rng = folder, rng
        folder.mkdir(parents=True)
        self.clip, self.reference = folder / "clip.mp4", b""
        with av.open(str(self.clip), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            for number in range(50):
                frame = av.VideoFrame.from_image(picture(number // 10))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    def cycle(self, count: Count) -> None:
        """Restore the clip through some kills; the bytes have to be the same."""
        target = self.folder / "out" / "clip.mp4"
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        arguments = ("restore", str(self.clip), "-o", str(target))
        for _ in range(self.rng.randrange(4) if self.reference else 0):
            with running(count, *arguments) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.rng.uniform(1, 8))
                kill(process)
                count.kills += 1
        if not target.exists():
            code, output = finish(count, *arguments)
            expect(code == 0, f"exit code {code}: {output[-300:]}")
        self.reference = self.reference or target.read_bytes()
        expect(target.read_bytes() == self.reference, "other bytes")
        left = [n for n in files_of(target.parent) if n != "clip.mp4"]
        expect(not left, f"left behind: {left}")
        count.good += 1


class WatchPart:
    """`watch` of a growing folder, killed and started again."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.pictures = make_pictures(folder / "source")

    def cycle(self, count: Count) -> None:
        """Put pictures into a watched folder while the watcher is killed; all have to arrive."""
        seen, target = self.folder / "seen", self.folder / "target"
        for path in (seen, target):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        arguments = ("watch", str(seen), "-o", str(target), "--existing")
        waiting = sorted(self.pictures.iterdir())
        (seen / "damaged.png").write_bytes(damage(waiting[0].read_bytes(), self.rng))
        names = {path.name for path in waiting}
        while waiting:
            with running(count, *arguments) as process:
                for _ in range(self.rng.randrange(1, 5)):
                    if waiting:
                        shutil.copy(waiting.pop(), seen)
                        time.sleep(self.rng.uniform(0, 1.5))
                time.sleep(self.rng.uniform(0, 3))
                kill(process)
                count.kills += 1
        with running(count, *arguments):
            deadline = time.monotonic() + WAIT
            while {path.name for path in target.iterdir()} != names:
                expect(time.monotonic() < deadline, f"arrived: {sorted(target.iterdir())}")
                time.sleep(0.2)
        for path in target.iterdir():
            with Pillow.open(path) as restored:
                expect(restored.size == SIZE, f"{path.name} is {restored.size}")
        count.refused += 1
        count.good += len(names)


class DiskPart:
    """`restore` of a folder onto a disk that is too small."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.source = make_pictures(folder / "source")
        self.disk = folder / "disk"
        self.disk.mkdir()

    def cycle(self, count: Count) -> None:
        """Fill a disk; what is there has to be whole, and what is not has to be named."""
        size = f"size={self.rng.randrange(60, 400)}k"
        mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.disk)]
        subprocess.run(mount, check=True)
        try:
            code, output = finish(count, "restore", str(self.source), "-o", str(self.disk / "out"))
            results = files_of(self.disk)
            expect(code == (0 if len(results) == PICTURES else 1), f"exit code {code}")
            expect("Traceback" not in output, output[-300:])
            for name in results:
                with Pillow.open(self.disk / name) as restored:
                    restored.load()
            count.refused += PICTURES - len(results)
            count.good += len(results)
        finally:
            subprocess.run(["umount", str(self.disk)], check=True)


class ServerPart:
    """`serve` under good, damaged, slow and leaving clients; one server for the whole time."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        folder.mkdir(parents=True)
        self.folder, self.rng = folder, rng
        path = folder / "good.png"
        picture(1).save(path)
        self.good, self.reference = path.read_bytes(), b""
        self.server: contextlib.ExitStack = contextlib.ExitStack()
        self.address, self.process = "", 0

    def start(self, count: Count) -> None:
        """Start the server and wait for it."""
        process = self.server.enter_context(running(count, "serve", "--port", "0"))
        self.process = process.pid
        assert process.stdout is not None
        while not self.address:
            line = process.stdout.readline()
            expect(line, "the server did not start")
            found = re.search(r"http://[\d.]+:\d+", line)
            self.address = found[0] if found else ""
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def cycle(self, count: Count) -> None:
        """Ask for one good and one damaged picture, and disturb."""
        if not self.address:
            self.start(count)
        with httpx.Client(base_url=self.address, timeout=WAIT) as client:
            if self.rng.random() < 0.2:
                self._kill_a_worker(count)
            if self.rng.random() < 0.3:  # a client that leaves while it is waiting
                with contextlib.suppress(httpx.TimeoutException):
                    client.post("/restore", content=self.good, timeout=0.02)
            if self.rng.random() < 0.1:
                self._leave_amid_a_body()
            bad = self._ask(client, damage(self.good, self.rng))
            expect(bad.status_code == 422, f"a damaged picture: {bad.status_code}")
            answer = self._ask(client, self.good)
            expect(answer.status_code == 200, f"a good picture: {answer.status_code}")
            self.reference = self.reference or answer.content
            expect(answer.content == self.reference, "other bytes")
            expect(client.get("/health").status_code == 200, "unhealthy")
        count.good += 1
        count.refused += 1

    def _ask(self, client: httpx.Client, body: bytes) -> httpx.Response:
        """Send a picture, again where its worker was killed or the server was busy."""
        for _ in range(20):
            answer = client.post("/restore", content=body)
            if answer.status_code not in (500, 503, 504):
                break
            time.sleep(0.5)
        return answer

    def _leave_amid_a_body(self) -> None:
        """Send half of a picture and go."""
        host, port = self.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WAIT) as connection:
            head = f"POST /restore HTTP/1.1\r\nHost: {host}:{port}\r\n"
            head += f"Content-Length: {len(self.good)}\r\n\r\n"
            connection.sendall(head.encode() + self.good[: len(self.good) // 2])

    def _kill_a_worker(self, count: Count) -> None:
        workers = [
            int(child)
            for path in Path(f"/proc/{self.process}/task").glob("*/children")
            for child in path.read_text().split()
        ]
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(workers), signal.SIGKILL)
                count.kills += 1
