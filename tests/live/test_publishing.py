"""A watched stream over HTTP, RTSP and MQTT: what clients get, and that none delays it."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="the extra video is not installed")

from cmudrn.errors import CmudrnError, InvalidSettingError  # noqa: E402
from cmudrn.image import Pixels  # noqa: E402
from cmudrn.live import publisher as publishing  # noqa: E402
from cmudrn.live.publisher import Publisher, parse_address  # noqa: E402
from cmudrn.live.rtsp_push import RtspPusher  # noqa: E402
from cmudrn.live.sources import Arrival, open_source  # noqa: E402
from cmudrn.live.status import LiveStatus  # noqa: E402
from cmudrn.restoration import RestoredImage  # noqa: E402
from cmudrn.restoration.weather_classifier import WeatherScore  # noqa: E402

SECONDS = 20.0
"""After so long a test gives up."""


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


class Watched:
    """A `LiveStatus` as a watch would drive it."""

    def __init__(self) -> None:
        self.status = LiveStatus()
        self._show = self.status.show(lambda *_: None)
        self._restore = self.status.restore(
            lambda pixels: [RestoredImage(pixels, weather=WeatherScore(0.9, 0.06, 0.04))]
        )
        self.tell = self.status.tell(lambda *_: None)

    def frame(self, brightness: int, side: int = 32) -> None:
        pixels: Pixels = np.full((side, side + 16, 3), brightness, np.uint8)
        self._restore(pixels)
        self._show(Arrival(pixels, "", time.monotonic()), pixels)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def server(watched: Watched) -> Iterator[Publisher]:
    publisher = Publisher(watched.status, "127.0.0.1:0")
    yield publisher
    publisher.close()


def ask(server: Publisher, path: str, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.place, timeout=SECONDS)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def connect(server: Publisher) -> socket.socket:
    host, _, port = server.place.rpartition(":")
    return socket.create_connection((host, int(port)))


def brightness(jpeg: bytes) -> int:
    return round(float(np.asarray(Image.open(io.BytesIO(jpeg))).mean()))


class Stream:
    """A client of the motion JPEG stream."""

    def __init__(self, server: Publisher) -> None:
        self._connection = http.client.HTTPConnection(server.place, timeout=SECONDS)
        self._connection.request("GET", "/stream.mjpg")
        self._answer = self._connection.getresponse()
        assert "multipart/x-mixed-replace" in (self._answer.getheader("Content-Type") or "")

    def next(self) -> bytes:
        length = 0
        while (line := self._answer.readline()) != b"\r\n":
            assert line, "the stream has ended"
            name, _, value = line.partition(b":")
            length = int(value) if name == b"Content-Length" else length
        jpeg = self._answer.read(length)
        assert self._answer.readline() == b"\r\n"
        return jpeg

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def test_state_and_newest_frame(watched: Watched, server: Publisher) -> None:
    assert ask(server, "/snapshot.jpg")[0] == 503
    assert json.loads(ask(server, "/status.json")[1])["state"] == "STARTING"
    assert ask(server, "/health")[0] == 503
    watched.tell("LIVE", "")
    watched.frame(40)
    watched.frame(200)
    status, jpeg = ask(server, "/snapshot.jpg")
    assert (status, brightness(jpeg)) == (200, 200)
    assert ask(server, "/health")[0] == 200
    state = json.loads(ask(server, "/status.json")[1])
    assert (state["state"], state["weather"], state["restored"]) == ("LIVE", "rain", 2)
    assert (state["score"]["rain"], state["size"]) == (0.9, [48, 32])
    assert state["latency_ms"] >= 0 and state["age_ms"] >= 0
    watched.tell("STALE", "")
    state = json.loads(ask(server, "/status.json")[1])
    assert (state["state"], state["stalls"]) == ("STALE", 1)
    assert ask(server, "/health")[0] == 503
    assert ask(server, "/snapshot.jpg")[0] == 200  # the last that is known
    assert b"stream.mjpg" in ask(server, "/")[1]
    assert ask(server, "/secret")[0] == 404


def test_a_stream_sends_each_new_frame_and_ends(watched: Watched, server: Publisher) -> None:
    watched.frame(10)
    stream = Stream(server)
    assert brightness(stream.next()) == 10
    for value in (60, 120):
        watched.frame(value)
        assert brightness(stream.next()) == value
    server.close()
    with pytest.raises(AssertionError, match="has ended"):
        stream.next()


def test_a_client_that_does_not_read_holds_up_nobody(watched: Watched, server: Publisher) -> None:
    server.timeout_s = 0.3
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1200, 1600, 3), np.uint8)  # larger than the system's buffers
    slow = connect(server)
    slow.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {server.place}\r\n\r\n".encode())
    show = watched.status.show(lambda *_: None)
    fast = Stream(server)
    for _ in range(6):
        show(Arrival(noise, "", time.monotonic()), noise)
        assert len(fast.next()) > 1 << 20

    def is_cut_off() -> bool:
        slow.settimeout(SECONDS)
        while slow.recv(1 << 20):
            pass
        return True

    time.sleep(0.4)
    assert is_cut_off()


def test_clients_are_limited_and_places_come_back(watched: Watched, server: Publisher) -> None:
    watched.frame(50)
    streams = [Stream(server) for _ in range(publishing.MAX_CLIENTS)]
    assert ask(server, "/health")[0] == 503  # turned away
    for stream in streams:
        stream.close()
    watched.tell("LIVE", "")
    wait_for(lambda: ask(server, "/health")[0] == 200)


def test_half_a_request_gives_its_place_back(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "HEADER_S", 0.3)
    server = Publisher(watched.status, "127.0.0.1:0")
    half = connect(server)
    half.sendall(b"GET / HTTP/1.1\r\nHo")
    half.settimeout(SECONDS)
    assert half.recv(100) == b""
    server.close()


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:80", ""])
def test_another_name_than_its_own_is_refused_on_loopback(
    host: str, watched: Watched, server: Publisher
) -> None:
    watched.frame(50)
    connection = connect(server)
    connection.sendall(f"GET /snapshot.jpg HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    assert b" 421 " in connection.recv(100)
    assert ask(server, "/snapshot.jpg", host="localhost")[0] == 200


@pytest.mark.parametrize("address", ["8554", "127.0.0.1", "a:b", "h:99999", "h:1/x", ""])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"127\.0\.0\.1:8554"):
        parse_address(address)
    assert parse_address("[::1]:80") == ("::1", 80)


def test_an_address_in_use_is_told(watched: Watched, server: Publisher) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(CmudrnError, match="listen"),
    ):
        Publisher(watched.status, f"127.0.0.1:{other.getsockname()[1]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_frames_reach_an_rtsp_server_that_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmudrn.live.rtsp_push.RETRY_S", 0.2)
    address, told = f"rtsp://127.0.0.1:{free_port()}/live", list[str]()
    pusher = RtspPusher(address, lambda word, _: told.append(word))
    stopped = threading.Event()
    pixels = np.full((64, 96, 3), 180, np.uint8)

    def send() -> None:
        while not stopped.wait(0.02):
            pusher.add(Arrival(pixels, "", time.monotonic()), pixels)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_for(lambda: "NOTE" in told)
        listening = {"rtsp_flags": "listen", "listen_timeout": str(round(SECONDS))}
        with av.open(address, options=listening) as received:
            frame = next(received.decode(video=0))
            assert (frame.width, frame.height) == (96, 64)
            assert abs(frame.to_ndarray(format="rgb24").mean() - 180) < 4
        wait_for(lambda: "PUSH" in told)
    finally:
        stopped.set()
        sender.join()
        pusher.close()


@pytest.mark.parametrize("address", ["http://h/x", "file:/etc/passwd", "x"])
def test_frames_are_pushed_to_rtsp_alone(address: str) -> None:
    with pytest.raises(InvalidSettingError, match="rtsp://"):
        RtspPusher(address, lambda *_: None)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("no mosquitto")
    port = free_port()
    settings = tmp_path / "mosquitto.conf"
    (tmp_path / "users").write_text("")
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    running = subprocess.Popen([program, "-c", settings], stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        running.terminate()
        running.wait()


def test_a_broker_is_told_score_and_health(
    watched: Watched, broker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mqtt = pytest.importorskip("cmudrn.live.mqtt", reason="the extra mqtt is not installed")
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    monkeypatch.setattr(mqtt, "INTERVAL_S", 0.05)
    heard: dict[str, Any] = {}
    listener = Client(CallbackAPIVersion.VERSION2)
    listener.on_connect = lambda client, *_: client.subscribe("#")
    listener.on_message = lambda _, __, message: heard.update({message.topic: message.payload})
    wait_for(lambda: is_open(broker))
    listener.connect("127.0.0.1", broker)
    listener.loop_start()
    told: list[str] = []
    reporter = mqtt.MqttReporter(
        watched.status, f"mqtt://127.0.0.1:{broker}/door", lambda word, _: told.append(word)
    )
    try:
        watched.tell("LIVE", "")
        watched.frame(90)
        config = "homeassistant/device/cmudrn_door/config"
        wait_for(lambda: b"Rain score" in heard.get(config, b""))
        wait_for(lambda: b'"weather": "rain"' in heard.get("cmudrn/door/state", b""))
        assert heard["cmudrn/door/availability"] == b"online"
        about = json.loads(heard[config])
        assert about["state_topic"] == "cmudrn/door/state"
        assert all({"platform", "unique_id"} <= one.keys() for one in about["components"].values())
        watched.tell("STALE", "")
        wait_for(lambda: json.loads(heard["cmudrn/door/state"])["state"] == "STALE")
    finally:
        reporter.close()
    wait_for(lambda: heard["cmudrn/door/availability"] == b"offline")
    listener.loop_stop()
    assert told == ["MQTT"]


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("address", ["http://h", "mqtt://", "mqtt://h/a/b", "mqtt://h/a b", "h:1"])
def test_a_broker_has_an_address(address: str, watched: Watched) -> None:
    mqtt = pytest.importorskip("cmudrn.live.mqtt", reason="the extra mqtt is not installed")
    with pytest.raises(InvalidSettingError, match="mqtt://"):
        mqtt.MqttReporter(watched.status, address, lambda *_: None)


def test_a_camera_that_gives_only_snapshots_is_asked_again(
    watched: Watched, server: Publisher
) -> None:
    watched.frame(70, side=64)
    source = open_source(f"http://{server.place}/snapshot.jpg")
    with closing(source.frames()) as frames:  # type: ignore[type-var]
        first = next(frames)
        watched.frame(170, side=64)
        second = next(frames)
    assert isinstance(first, Arrival) and isinstance(second, Arrival)
    assert [round(one.pixels.mean() / 10) for one in (first, second)] == [7, 17]
