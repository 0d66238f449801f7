"""Live sources made from clips, over HTTP and RTSP on this machine, and folders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from support import clips  # noqa: E402
from support.rtsp import RtspCamera  # noqa: E402

import cmudrn  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.image import Pixels, write_image  # noqa: E402
from cmudrn.live import sources as live_sources  # noqa: E402
from cmudrn.live import watcher  # noqa: E402
from cmudrn.live.queue import DropOldestQueue  # noqa: E402
from cmudrn.live.recorder import Recorder  # noqa: E402
from cmudrn.live.sources import (  # noqa: E402
    Arrival,
    FolderSource,
    Source,
    StreamSource,
    open_source,
)
from cmudrn.live.statistics import WatchStatistics  # noqa: E402
from cmudrn.live.watcher import RestoreFrame, WatchSettings  # noqa: E402
from cmudrn.restoration import RestoredImage, RestoreSettings  # noqa: E402


class Camera(ThreadingHTTPServer):
    """Sends one JPEG after another, as network cameras do; stalls and hangs up when told to."""

    daemon_threads = True

    def __init__(self, pictures: list[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pictures = pictures
        self.calls = 0
        self.stalled = threading.Event()
        self.hang_up_after = 1_000_000

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        self.server.calls += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=next")
        self.end_headers()
        try:
            for number in range(self.server.hang_up_after):
                while self.server.stalled.is_set():
                    time.sleep(0.01)
                data = self.server.pictures[number % len(self.server.pictures)]
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Camera]:
    from cmudrn.image import Picture, encode_picture

    pictures = [encode_picture(Picture(clips.picture(n, False)), format="jpeg") for n in range(10)]
    server = Camera(pictures)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.stalled.clear()
    server.shutdown()
    server.server_close()


@pytest.fixture
def rtsp(tmp_path: Path) -> Iterator[RtspCamera]:
    clip = clips.make_clip(
        tmp_path / "live.mp4", [512 * n for n in range(50)], extras=False, gop=10
    )
    server = RtspCamera(clip).start()
    yield server
    server.stalled.clear()
    server.shutdown()
    server.server_close()


def unchanged(pixels: Pixels) -> list[RestoredImage]:
    return [RestoredImage(pixels)]


class Seen:
    """Collects what a watch tells and shows."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.sentences: list[str] = []
        self.frames: list[tuple[Arrival, Pixels]] = []

    def watch(
        self,
        source: Source,
        *,
        restore: RestoreFrame = unchanged,
        stop: Callable[[], bool] = lambda: False,
        **settings: Any,
    ) -> WatchStatistics:
        return watcher.watch(
            source,
            restore,
            lambda arrival, pixels: self.frames.append((arrival, pixels)),
            self.tell,
            WatchSettings(**settings),
            stop=stop,
        )

    def watch_until(
        self, condition: Callable[[], bool], source: Source, **settings: Any
    ) -> WatchStatistics:
        """Watch until the condition holds; fail if it does not within half a minute."""
        statistics = self.watch(source, stop=condition, seconds=30, **settings)
        assert condition(), "what was waited for did not happen"
        return statistics

    def tell(self, word: str, sentence: str) -> None:
        self.words.append(word)
        self.sentences.append(sentence)


def arrival(number: int) -> Arrival:
    return Arrival(np.full((2, 2, 3), number, np.uint8), "", 0.0)


def test_the_newest_frames_stay_and_the_rest_is_counted() -> None:
    latest = DropOldestQueue(2)
    for number in range(5):
        latest.put(arrival(number))
    kept = [latest.get(0), latest.get(0), latest.get(0)]
    assert [None if a is None else int(a.pixels[0, 0, 0]) for a in kept] == [3, 4, None]
    assert (latest.received, latest.dropped) == (5, 3)


def test_every_picture_of_a_folder_is_restored_however_many_come_at_once(tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    seen, source = Seen(), open_source(str(folder))

    def slow(pixels: Pixels) -> list[RestoredImage]:
        time.sleep(0.1)
        return unchanged(pixels)

    for number in range(10):
        write_image(np.full((4, 5, 3), number / 10, np.float32), folder / f"{number}.png")
    statistics = seen.watch_until(lambda: len(seen.frames) == 10, source, restore=slow)
    assert sorted(a.name for a, _ in seen.frames) == [f"{number}.png" for number in range(10)]
    assert (statistics.received, statistics.restored, statistics.dropped) == (10, 10, 0)


def test_what_is_to_be_said_of_a_picture_of_a_folder_is_told(tmp_path: Path) -> None:
    def much(pixels: Pixels) -> list[RestoredImage]:
        return [RestoredImage(pixels, dehazed=True, changed=0.5)]

    seen, source = Seen(), open_source(str(tmp_path))
    write_image(np.full((4, 5, 3), 0.5, np.float32), tmp_path / "a.png")
    seen.watch_until(lambda: bool(seen.frames), source, restore=much)
    notes = much(np.empty(0))[0].notes
    assert len(notes) == 2 and {f"a.png: {note}" for note in notes} <= set(seen.sentences)


def test_a_watch_that_is_over_ends_though_pictures_still_wait(tmp_path: Path) -> None:
    source = open_source(str(tmp_path))
    for number in range(5):
        write_image(np.full((4, 5, 3), number / 10, np.float32), tmp_path / f"{number}.png")
    threads, seen = threading.active_count(), Seen()
    seen.watch(source, seconds=30, stop=lambda: bool(seen.frames))
    assert threading.active_count() <= threads


def test_percentiles_are_latencies_that_were_seen() -> None:
    statistics = WatchStatistics()
    assert statistics.to_json()["p50_ms"] is None
    statistics.latencies_s.extend(n / 1000 for n in range(1, 101))
    record = statistics.to_json()
    assert (record["p50_ms"], record["p95_ms"], record["p99_ms"]) == (51, 96, 100)


def test_a_slow_restorer_drops_frames_and_gets_the_newest(camera: Camera) -> None:
    seen = Seen()

    def slow(pixels: Pixels) -> list[RestoredImage]:
        time.sleep(0.2)
        return unchanged(pixels)

    statistics = seen.watch(StreamSource(camera.address), restore=slow, seconds=3)
    assert statistics.restored >= 2
    assert statistics.dropped > 0
    assert statistics.restored + statistics.dropped in (
        statistics.received, statistics.received - 1
    )  # fmt: skip
    frame = seen.frames[0][1]
    assert frame.shape == (clips.HEIGHT, clips.WIDTH, 3)
    assert min(np.abs(frame.astype(int) - clips.picture(n, False)).mean() for n in range(10)) < 8


def test_a_stalled_source_is_said_to_be_stale_and_comes_back(camera: Camera) -> None:
    seen = Seen()

    def stall() -> None:
        _wait(lambda: len(seen.frames) > 2)
        camera.stalled.set()
        _wait(lambda: "STALE" in seen.words)
        camera.stalled.clear()

    helper = threading.Thread(target=stall)
    helper.start()
    statistics = seen.watch_until(
        lambda: seen.words[-2:] == ["STALE", "LIVE"], StreamSource(camera.address), stale_s=1.0
    )
    helper.join()
    assert seen.words[0] == "LIVE"
    assert statistics.stalls >= 1


def test_a_lost_source_is_opened_again(camera: Camera) -> None:
    seen = Seen()
    camera.hang_up_after = 5
    statistics = seen.watch_until(
        lambda: camera.calls >= 3 and seen.words.count("LOST") >= 2,
        StreamSource(camera.address),
        stale_s=60,
    )
    assert statistics.reconnects >= 2
    assert statistics.received > 5


def nearest(frame: np.ndarray) -> float:
    """Return how far a frame is from the nearest of the clip's own, mean grey levels."""
    own = (clips.picture(n, False).astype(int) for n in range(50))
    return min(float(np.abs(frame - picture).mean()) for picture in own)


def test_an_rtsp_source_is_watched(rtsp: RtspCamera) -> None:
    seen = Seen()
    source = open_source(rtsp.address)
    statistics = seen.watch_until(lambda: len(seen.frames) >= 20, source, waiting=50)
    assert seen.words[0] == "LIVE"
    assert statistics.received >= 20
    assert max(nearest(frame) for _, frame in seen.frames) < 4


def test_an_rtsp_source_that_stalls_and_hangs_up_comes_back(rtsp: RtspCamera) -> None:
    seen = Seen()
    rtsp.hang_up_after = 80  # FFmpeg drops those that it looks at to find out what comes

    def stall() -> None:
        _wait(lambda: len(seen.frames) > 2)
        rtsp.stalled.set()
        _wait(lambda: "STALE" in seen.words)
        rtsp.stalled.clear()

    helper = threading.Thread(target=stall)
    helper.start()
    statistics = seen.watch_until(
        lambda: rtsp.calls >= 3 and len(seen.frames) > 30,
        open_source(rtsp.address),
        stale_s=1.0,
        waiting=50,
    )
    helper.join()
    assert seen.words[:2] == ["LIVE", "STALE"]
    assert "LOST" in seen.words
    assert statistics.reconnects >= 2
    assert max(nearest(frame) for _, frame in seen.frames) < 4


def test_a_silent_rtsp_source_is_lost_after_its_timeout(rtsp: RtspCamera) -> None:
    rtsp.stalled.set()
    with pytest.raises(CmudrnError, match=r"nothing came for 0\.5 s"):
        next(open_source(rtsp.address, timeout_s=0.5).frames())


def test_frames_after_a_loss_are_left_out_until_they_are_whole(rtsp: RtspCamera) -> None:
    seen = Seen()
    rtsp.lost = {13, 14, 15, 32}
    seen.watch_until(lambda: len(seen.frames) >= 30, open_source(rtsp.address), waiting=50)
    assert max(nearest(frame) for _, frame in seen.frames) < 4


def test_a_camera_of_this_machine_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    # FFmpeg's pattern generator takes the camera's place: the same path but for the driver.
    monkeypatch.setattr(live_sources, "_camera_format", lambda: "lavfi")
    seen = Seen()
    source = open_source("camera:testsrc=size=64x48:rate=25")
    assert source == StreamSource("testsrc=size=64x48:rate=25", is_camera=True)
    seen.watch_until(lambda: len(seen.frames) >= 3, source)
    assert seen.frames[0][1].shape == (48, 64, 3)


def test_a_source_that_never_answers_is_given_up(camera: Camera) -> None:
    address = camera.address
    camera.shutdown()
    camera.server_close()
    seen = Seen()
    with pytest.raises(CmudrnError, match=r"127\.0\.0\.1"):
        seen.watch(StreamSource(address), attempts=1, seconds=60)
    assert seen.words == ["LOST"]


def test_a_password_is_not_told() -> None:
    source = StreamSource("rtsp://name:secret@127.0.0.1:1/live", timeout_s=1)
    with pytest.raises(CmudrnError) as caught:
        next(source.frames())
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1/live" in str(caught.value)


def test_new_pictures_of_a_folder_come_once_each(tmp_path: Path) -> None:
    write_image(np.zeros((4, 5, 3), np.float32), tmp_path / "old.png")
    seen = Seen()

    def put() -> None:
        time.sleep(0.3)
        for number in range(3):
            write_image(np.full((4, 5, 3), number / 4, np.float32), tmp_path / f"{number}.png")
        (tmp_path / "broken.png").write_bytes(b"no picture")

    helper = threading.Thread(target=put)
    helper.start()
    source = open_source(str(tmp_path))
    assert isinstance(source, FolderSource)
    seen.watch_until(lambda: len(seen.frames) == 3, source, waiting=3)
    helper.join()
    assert sorted(a.name for a, _ in seen.frames) == ["0.png", "1.png", "2.png"]


def test_a_recording_keeps_the_times(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "seen.mkv")
    for number, came_s in enumerate((5.0, 5.04, 6.5)):
        pixels = clips.picture(number, False)
        recorder.add(Arrival(pixels, "", came_s), pixels)
    recorder.close()
    assert [float(t) for t in clips.frame_times(tmp_path / "seen.mkv")] == [0, 0.04, 1.5]
    with pytest.raises(CmudrnError, match="exists already"):
        Recorder(tmp_path / "seen.mkv")


def test_words_that_are_no_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CmudrnError, match="There is no camera, file or folder"):
        open_source(str(tmp_path / "nothing"))


def _wait(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("lookahead", "counts"), [(None, [1, 1, 1]), (0, [1, 1, 1]), (1, [0, 1, 1])]
)
def test_a_frame_waits_for_the_next_only_if_asked(
    lookahead: int | None, counts: list[int], darkening_model: Path, tmp_path: Path
) -> None:
    source = StreamSource(str(clips.make_clip(tmp_path / "a.mkv", [0, 512], extras=False)))
    restorer = cmudrn.load(darkening_model, threads=1)
    restore = watcher.make_restore(restorer, RestoreSettings(), source, lookahead)
    frames = [np.full((8, 9, 3), 10 * number, np.uint8) for number in range(3)]
    assert [len(restore(frame)) for frame in frames] == counts
