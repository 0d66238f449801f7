"""A simulated camera watched and published: frames, messages and memory over minutes.

    python benchmarks/live_publishing.py --seconds 300 --broker mqtt://127.0.0.1:1883/bench

The camera is an HTTP server on this machine that sends motion JPEG. It is gone from the second to
the third fifth of the time. A client reads the published stream, another hears the broker, and a
third connects to the stream and reads nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from cmudrn.image import Picture, encode_picture, read_image

SIZE = (480, 640)
SAMPLE = Path(__file__).parents[1] / "samples" / "rain.jpg"


class Camera:
    """Sends 10 frames a second to everybody while it is plugged in."""

    def __init__(self) -> None:
        photograph = read_image(SAMPLE)[: SIZE[0], : SIZE[1]]
        views = [np.roll(photograph, 8 * shift, axis=1) for shift in range(20)]
        pictures = [Picture(np.round(255 * view).astype(np.uint8)) for view in views]
        self.frames = [encode_picture(picture, "jpeg") for picture in pictures]
        self.plugged = threading.Event()
        self.address = ("127.0.0.1", free_port())
        self._server: ThreadingHTTPServer | None = None

    def plug(self) -> None:
        """Listen and send."""
        self.plugged.set()
        handler = type("Handler", (_CameraHandler,), {"camera": self})
        self._server = ThreadingHTTPServer(self.address, handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def pull(self) -> None:
        """Hang up, and refuse connections."""
        self.plugged.clear()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _CameraHandler(BaseHTTPRequestHandler):
    camera: Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        number = 0
        while self.camera.plugged.is_set():
            jpeg = self.camera.frames[number % len(self.camera.frames)]
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:
                return
            number += 1
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def read_stream(place: str, counts: Counter[str], ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            connection = http.client.HTTPConnection(place, timeout=5)
            connection.request("GET", "/stream.mjpg")
            answer = connection.getresponse()
            while line := answer.readline():
                counts["frames to a client"] += line.startswith(b"--")
        except OSError:
            time.sleep(0.2)


def hear(broker: str, counts: Counter[str]) -> None:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    parts = urlsplit(broker)
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe(f"cmudrn{parts.path}/state")
    client.on_message = lambda _, __, message: counts.update(
        ["messages", f"messages {json.loads(message.payload)['state']}"]
    )
    client.connect(str(parts.hostname), parts.port or 1883)
    client.loop_start()


def resident_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--broker", default="", help="mqtt://HOST[:PORT]/NAME")
    parser.add_argument("--model", default="cmudrn")
    asked = parser.parse_args()
    camera, counts, ended = Camera(), Counter[str](), threading.Event()
    camera.plug()
    place = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "cmudrn", "watch", "http://{}:{}/".format(*camera.address)]
    command += ["--publish", place, "--model", asked.model, "--seconds", str(asked.seconds)]
    command += ["--mqtt", asked.broker] if asked.broker else []
    if asked.broker:
        hear(asked.broker, counts)
    watch = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    threading.Thread(target=read_stream, args=(place, counts, ended), daemon=True).start()
    began = time.monotonic()
    silent = None
    while watch.poll() is None and time.monotonic() - began < asked.seconds + 60:
        part = (time.monotonic() - began) / asked.seconds
        if camera.plugged.is_set() and 0.4 < part < 0.6:
            camera.pull()
            print(f"{time.monotonic() - began:5.0f} s  camera pulled")
        if not camera.plugged.is_set() and part >= 0.6:
            camera.plug()
            print(f"{time.monotonic() - began:5.0f} s  camera returned")
        if silent is None and counts["frames to a client"]:
            silent = socket.create_connection(tuple(place.split(":")))
            silent.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        print(
            f"{time.monotonic() - began:5.0f} s  {resident_mb(watch.pid):6.1f} MB  {dict(counts)}"
        )
        time.sleep(min(20.0, asked.seconds / 10))
    ended.set()
    summary, events = watch.communicate()
    print(summary.strip())
    print(Counter(line.partition(":")[0] for line in events.splitlines()))


if __name__ == "__main__":
    main()
