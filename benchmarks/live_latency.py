"""Latency of `watch` minute by minute, from a camera's sending to the restored frame.

    python benchmarks/live_latency.py --seconds 600 --size 640x360 --rate 25

The camera is a process on this machine that sends motion JPEG over HTTP and never waits: frame n
leaves at n / rate seconds, and carries its number as a row of black and white squares. So the
latency includes all that waits in sockets and decoders. Frames are fused over time, as `watch`
does. Prints a row a minute, and the slope of the latency over the whole time.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import cmudrn
from cmudrn.image import Pixels, read_image
from cmudrn.live.sources import Arrival, open_source
from cmudrn.live.watcher import WatchSettings, make_restore, watch
from cmudrn.restoration import RestoreSettings

SAMPLE = Path(__file__).parents[1] / "samples" / "rain.jpg"
BITS, SIDE = 20, 16
"""Squares that a frame's number is written in, and their side in pixels."""


def number_frame(frame: Pixels, number: int) -> Pixels:
    """Return a frame with its number in the first rows."""
    result = frame.copy()
    for bit in range(BITS):
        result[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 * (number >> bit & 1)
    return result


def read_number(frame: Pixels) -> int:
    """Return the number that a frame carries."""
    middle = frame[SIDE // 2, SIDE // 2 : BITS * SIDE : SIDE, 1]
    return sum(1 << bit for bit, value in enumerate(middle) if value > 127)


def run_camera(size: tuple[int, int], rate: float, told: Connection) -> None:
    """Send frames to everybody who asks; tells the port, then the time of frame 0."""
    photograph = Pillow.open(SAMPLE).convert("RGB").resize((size[1] + 100, size[0]))
    pixels = np.asarray(photograph)
    steps = [50 + int(50 * np.sin(2 * np.pi * n / 200)) for n in range(200)]
    views = [pixels[:, step : step + size[1]] for step in steps]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            begin, number = time.monotonic(), 0
            told.send(begin)
            while True:
                buffer = io.BytesIO()
                shown = number_frame(views[number % len(views)], number)
                Pillow.fromarray(shown).save(buffer, "jpeg", quality=90)
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {buffer.tell()}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + buffer.getvalue() + b"\r\n")
                except OSError:
                    return
                # A camera that was held up goes on with the frame of this moment.
                number = max(number + 1, int((time.monotonic() - begin) * rate))
                time.sleep(max(0.0, begin + number / rate - time.monotonic()))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


class Record:
    """Latencies by minute, and their table."""

    def __init__(self, rate: float, told: Connection) -> None:
        self._rate, self._told = rate, told
        self._begin = 0.0
        self.seen: list[tuple[float, float]] = []  # when, latency
        self._printed = 0
        print("| minute | frames | p50, ms | p95, ms | greatest, ms | memory, MB |")
        print("|---:|---:|---:|---:|---:|---:|")

    def show(self, arrival: Arrival, _: Pixels) -> None:
        """Note the latency of a frame that was restored."""
        now = time.monotonic()
        while self._told.poll():
            self._begin = self._told.recv()
        sent = self._begin + read_number(arrival.pixels) / self._rate
        self.seen.append((now - self._begin, now - sent))
        if now - self._begin >= 60 * (self._printed + 1):
            self.row()

    def row(self) -> None:
        """Print the row of a minute."""
        low, high = 60 * self._printed, 60 * (self._printed + 1)
        self._printed += 1
        part = [1000 * late for when, late in self.seen if low <= when < high]
        if part:
            middle, most = np.percentile(part, [50, 95])
            cells = f"{len(part)} | {middle:.0f} | {most:.0f} | {max(part):.0f}"
            print(f"| {self._printed} | {cells} | {resident_mb():.0f} |", flush=True)

    def slope(self) -> float:
        """Return by how much the latency grows, milliseconds a minute; the first 10 s are left."""
        when, late = np.array([pair for pair in self.seen if pair[0] > 10]).T
        return float(60_000 * np.polyfit(when, late, 1)[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--size", default="640x360", help="columns x rows")
    parser.add_argument("--rate", type=float, default=25)
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--lookahead", type=int, default=0)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    told, teller = multiprocessing.Pipe(duplex=False)
    camera = multiprocessing.Process(
        target=run_camera, args=((height, width), asked.rate, teller), daemon=True
    )
    camera.start()
    source = open_source(f"http://127.0.0.1:{told.recv()}/", 10.0)
    restorer = cmudrn.load(asked.model, threads=asked.threads)
    restorer(read_image(SAMPLE))  # the first call prepares the engine
    restore = make_restore(restorer, RestoreSettings(), source, asked.lookahead)
    record, events = Record(asked.rate, told), list[str]()
    settings = WatchSettings(seconds=asked.seconds, report_s=1e9)
    statistics = watch(source, restore, record.show, lambda word, _: events.append(word), settings)
    camera.terminate()
    print(f"{statistics.received} frames came, {statistics.dropped} gave way to newer ones.")
    print(f"The latency grows by {record.slope():.2f} ms a minute. Events: {events}")


if __name__ == "__main__":
    main()
