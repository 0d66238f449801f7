"""An RTSP server for tests: sends a clip's H.264 over TCP, as network cameras do (RFC 2326)."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from pathlib import Path

import av

CLOCK = 90_000
"""Ticks of RTP's clock a second."""


class RtspCamera(socketserver.ThreadingTCPServer):
    """Serves one clip again and again; loses packets and hangs up when told to.

    Attributes:
        lost: numbers of frames, counted from a connection's start, that never arrive.
        hang_up_after: frames after which a connection is closed.
        stalled: while set, nothing is sent.
        calls: connections that asked for the picture.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, clip: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            to_annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream)
            packets = [found for packet in container.demux(stream) if packet.size
                       for found in to_annex_b.filter(packet)]  # fmt: skip
        self.frames = [_units(bytes(packet)) for packet in packets]
        self.lost: set[int] = set()
        self.hang_up_after = 1_000_000
        self.stalled = threading.Event()
        self.calls = 0

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.server_address[1]}/live"

    def start(self) -> RtspCamera:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self


def _units(data: bytes) -> list[bytes]:
    """Return the units of a frame, the start codes between them taken out."""
    parts = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


class _Connection(socketserver.StreamRequestHandler):
    server: RtspCamera

    def handle(self) -> None:
        try:
            while request := self.rfile.readline().decode():
                fields = {}
                while line := self.rfile.readline().decode().strip():
                    name, _, value = line.partition(":")
                    fields[name.lower()] = value.strip()
                self._answer(request.split()[0], fields)
        except OSError:
            pass

    def _answer(self, method: str, fields: dict[str, str]) -> None:
        extra, body = {
            "DESCRIBE": ("Content-Type: application/sdp\r\n", self._description()),
            "SETUP": (f"Transport: {fields.get('transport')}\r\n", ""),
            "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
        }.get(method, ("", ""))
        self.wfile.write(
            f"RTSP/1.0 200 OK\r\nCSeq: {fields.get('cseq')}\r\nSession: 1\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        if method == "PLAY":
            self._play()
            self.connection.shutdown(socket.SHUT_RDWR)

    def _description(self) -> str:
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n"
            f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/{CLOCK}\r\n"
            "a=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
        )

    def _play(self) -> None:
        self.server.calls += 1
        sequence = 0
        for number in range(self.server.hang_up_after):
            while self.server.stalled.is_set():
                time.sleep(0.01)
            units = self.server.frames[number % len(self.server.frames)]
            for place, unit in enumerate(units):
                marker = 0x80 if place == len(units) - 1 else 0
                head = struct.pack(
                    "!BBHII", 0x80, marker | 96, sequence & 0xFFFF, number * CLOCK // 25, 1
                )
                sequence += 1
                if number not in self.server.lost:
                    length = len(head) + len(unit)
                    self.wfile.write(b"$\0" + struct.pack("!H", length) + head + unit)
            time.sleep(0.02)
