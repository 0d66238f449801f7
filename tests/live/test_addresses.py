"""What an address may answer, and that it never leads to another host by itself."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips, tls  # noqa: E402
from support.rtsp import RtspCamera  # noqa: E402

from cmudrn.errors import CmudrnError, LimitExceededError  # noqa: E402
from cmudrn.image import Picture, Pixels, encode_picture  # noqa: E402
from cmudrn.live.sources import Arrival, StreamSource, open_source  # noqa: E402
from cmudrn.live.watcher import WatchSettings, watch  # noqa: E402
from cmudrn.restoration import RestoredImage  # noqa: E402
from cmudrn.video.access import AddressRefusedError  # noqa: E402


def unchanged(pixels: Pixels) -> list[RestoredImage]:
    return [RestoredImage(pixels)]


Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


class Host(ThreadingHTTPServer):
    """Answers each path as it is told, and notes what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A camera, and another host that it must not lead to."""
    pair = Host(), Host()
    jpeg = encode_picture(Picture(clips.picture(3, False)), format="jpeg")
    for host in pair:
        host.answers["/image.jpg"] = (200, {"Content-Type": "image/jpeg"}, jpeg)
        host.answers["/image"] = (200, {"Content-Type": "image/jpeg"}, jpeg)
    yield pair
    for host in pair:
        host.shutdown()
        host.server_close()


def first_frame(source: StreamSource) -> Arrival:
    frames = source.frames()
    try:
        return next(frames)
    finally:
        frames.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/image.jpg", "/image"])
def test_an_address_of_a_single_image_is_asked_again_and_again(
    path: str, hosts: tuple[Host, Host]
) -> None:
    camera, _ = hosts
    words: list[str] = []
    shapes: list[tuple[int, ...]] = []
    statistics = watch(
        open_source(camera.address + path),
        unchanged,
        lambda _, pixels: shapes.append(pixels.shape),
        lambda word, _: words.append(word),
        WatchSettings(seconds=30),
        stop=lambda: len(shapes) >= 3,
    )
    assert shapes[:3] == [(clips.HEIGHT, clips.WIDTH, 3)] * 3
    assert (words, statistics.reconnects) == (["LIVE"], 0)


def test_a_redirect_within_the_host_is_followed(hosts: tuple[Host, Host]) -> None:
    camera, _ = hosts
    camera.answers["/old"] = (302, {"Location": "/image.jpg"}, b"")
    assert first_frame(StreamSource(f"{camera.address}/old")).pixels.shape[:2] == (48, 64)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(status: int, hosts: tuple[Host, Host]) -> None:
    camera, other = hosts
    camera.answers["/old"] = (status, {"Location": f"{other.address}/image.jpg"}, b"")
    camera.answers["/older"] = (302, {"Location": "/old"}, b"")
    for path in ("/old", "/older"):
        with pytest.raises(AddressRefusedError, match=r"redirects to http://127\.0\.0\.1"):
            first_frame(StreamSource(camera.address + path))
    assert other.asked == []
    asked = StreamSource(f"{camera.address}/old", follow_links=True)
    assert first_frame(asked).pixels.shape[:2] == (48, 64)


def playlists(segment: str) -> dict[str, bytes]:
    return {
        "/live.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
        f"{segment}\n#EXT-X-ENDLIST\n".encode(),
        "/concat": f"ffconcat version 1.0\nfile '{segment}'\n".encode(),
    }


def test_a_playlist_calls_nobody_unless_asked(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    camera, other = hosts
    clip = clips.make_clip(tmp_path / "a.ts", [512 * n for n in range(20)], extras=False)
    other.answers["/a.ts"] = (200, {}, clip.read_bytes())
    for path, text in playlists(f"{other.address}/a.ts").items():
        camera.answers[path] = (200, {"Content-Type": "application/vnd.apple.mpegurl"}, text)
        with pytest.raises(CmudrnError, match=r"127\.0\.0\.1"):
            first_frame(StreamSource(camera.address + path))
    assert other.asked == []
    asked = StreamSource(f"{camera.address}/live.m3u8", follow_links=True)
    assert first_frame(asked).pixels.shape[:2] == (48, 64)
    with pytest.raises(CmudrnError):  # a script stays one
        first_frame(StreamSource(f"{camera.address}/concat", follow_links=True))


def test_a_refused_address_ends_the_watch_at_once(hosts: tuple[Host, Host]) -> None:
    camera, other = hosts
    camera.answers["/old"] = (302, {"Location": f"{other.address}/image.jpg"}, b"")
    words: list[str] = []
    with pytest.raises(AddressRefusedError, match="another host"):
        watch(
            open_source(f"{camera.address}/old"),
            unchanged,
            lambda *_: None,
            lambda word, _: words.append(word),
            WatchSettings(seconds=30),
        )
    assert words == []


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_frames_beyond_the_limit_are_refused(kind: str, hosts: tuple[Host, Host]) -> None:
    camera, _ = hosts
    large = encode_picture(Picture(np.zeros((300, 400, 3), np.uint8)), format=kind)
    camera.answers["/large"] = (200, {"Content-Type": f"image/{kind}"}, large)
    source = open_source(f"{camera.address}/large", max_pixels=100_000)
    assert isinstance(source, StreamSource)
    with pytest.raises(LimitExceededError, match="limit of 100,000"):
        first_frame(source)


class RtspHost(socketserver.ThreadingTCPServer):
    """Answers RTSP requests as it is told: method -> what is sent; the last answer is a redirect.

    Attributes:
        answers: to the first requests.
        redirect: the answer to all others.
        asked: paths that were asked for.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        redirect: bytes,
        answers: tuple[bytes, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _RtspHandler)
        self.scheme = "rtsps" if tls else "rtsp"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.redirect, self.answers = redirect, answers
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"


class _RtspHandler(socketserver.StreamRequestHandler):
    server: RtspHost

    def handle(self) -> None:
        answers = list(self.server.answers)
        while request := self.rfile.readline().decode():
            self.server.asked.append(urlsplit(request.split()[1]).path)
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answers.pop(0) if answers else self.server.redirect)


OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n"
MOVED = b"RTSP/1.0 302 Moved\r\nCSeq: %s\r\nLocation: %s/a\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        ((), MOVED),
        ((OK,), MOVED),  # only the second request is redirected
        ((OK,), b"$\0\0\4abcd" + MOVED),  # behind a packet of the stream
        ((OK,), b"RTSP/1.0 200 OK\r\n$\0\0\0\r\n\r\n" + MOVED),
        ((OK,), b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n" + MOVED),
        ((OK,), b"RTSP/1.0 200 OK\r\nContent-Length: -9\r\n\r\n" + MOVED),
        ((OK,), b"RTSP/1.0 200 OK\r\nX: " + b"y" * 5000 + b"\r\n\r\n" + MOVED),
        ((OK,), b"REDIRECT rtsp://x RTSP/1.0\r\n\r\n" + MOVED),
    ],
    ids=range(8),
)
def test_an_rtsp_redirect_to_another_host_is_not_followed(
    answers: tuple[bytes, ...], form: bytes
) -> None:
    with RtspHost(OK) as other, RtspHost(b"", answers) as camera:
        camera.redirect = form % (b"2", other.address.encode())
        address = camera.address.replace("//", "//me:secret@") + "/live"
        with pytest.raises(CmudrnError, match="127") as caught:
            first_frame(StreamSource(address, timeout_s=1))
        other.shutdown()
        camera.shutdown()
    if form == MOVED:
        assert isinstance(caught.value, AddressRefusedError)
        assert "another host" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert other.asked == [] and camera.asked[0] == "/live"


def test_an_rtsp_redirect_within_the_host_is_followed_a_few_times() -> None:
    with RtspHost(b"") as camera:
        camera.redirect = MOVED % (b"1", camera.address.encode())
        with pytest.raises(AddressRefusedError, match="again and again"):
            first_frame(StreamSource(f"{camera.address}/live", timeout_s=3))
        camera.shutdown()
    assert camera.asked == ["/live", "/a", "/a", "/a", "/a"]


def test_an_encrypted_stream_arrives(tmp_path: Path) -> None:
    clip = clips.make_clip(tmp_path / "live.mp4", [512 * n for n in range(50)], extras=False)
    with RtspCamera(clip) as camera:
        camera.socket = tls.server_context(tmp_path).wrap_socket(camera.socket, server_side=True)
        camera.start()
        address = camera.address.replace("rtsp:", "rtsps:")
        frame = first_frame(StreamSource(address, timeout_s=30))
        camera.shutdown()
    assert camera.calls == 1 and frame.pixels.shape[2] == 3


def test_redirects_of_encrypted_streams_likewise(tmp_path: Path) -> None:
    context = tls.server_context(tmp_path)
    with RtspHost(OK) as other, RtspHost(b"", (OK,), context) as camera:
        camera.redirect = MOVED % (b"2", other.address.encode())
        with pytest.raises(AddressRefusedError, match="another host"):
            first_frame(StreamSource(f"{camera.address}/live", timeout_s=3))
        camera.redirect = MOVED % (b"2", camera.address.encode())
        with pytest.raises(AddressRefusedError, match="again and again"):
            first_frame(StreamSource(f"{camera.address}/live", timeout_s=3))
        other.shutdown()
        camera.shutdown()
    assert other.asked == [] and "/a" in camera.asked


def test_an_rtsp_server_that_is_not_there_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CmudrnError, match=r"127.*: Connection refused\."):
        first_frame(StreamSource(f"rtsp://me:secret@127.0.0.1:{port}/live", timeout_s=3))
