"""A live source watched: a stream's newest frame, and every picture of a folder, is restored."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from cmudrn.errors import CmudrnError
from cmudrn.files import check_target
from cmudrn.image import Picture, Pixels, from_float, read_picture, to_rgb
from cmudrn.photos.planning import walk
from cmudrn.video.colour import colours_of, to_frame, to_pixels

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
"""How long to wait before a lost source is opened again: doubled each time it fails."""

REMEMBERED = 10_000
"""Latencies that the percentiles are taken over, the latest ones."""


@dataclass(frozen=True)
class Arrival:
    """A frame from a source.

    Attributes:
        pixels: (H, W, 3) RGB, uint8 or uint16; of a file as `Picture` says.
        name: of the file it came from, below the watched folder and with forward slashes; "" for
            a stream.
        came_s: when it was there, seconds of `time.monotonic`.
        picture: all that the file holds; None for a stream.
    """

    pixels: Pixels
    name: str
    came_s: float
    picture: Picture | None = None


@dataclass(frozen=True)
class Unreadable:
    """A file of a watched folder that stays no picture.

    Attributes:
        reason: one sentence that names the file.
    """

    reason: str


class Refused(CmudrnError):
    """One picture that cannot be restored or shown; those after it can."""


class DropOldestQueue:
    """A queue of few frames: where it is full, the oldest is dropped, or the source waits.

    Args:
        length: how many frames may wait.
        keeps: nothing is dropped.
    """

    def __init__(self, length: int = 1, *, keeps: bool = False) -> None:
        self._waiting: deque[Arrival] = deque()
        self._length, self._keeps = length, keeps
        self._changed = threading.Condition()
        self.received = 0
        self.dropped = 0
        self.ended = False

    def put(self, arrival: Arrival) -> None:
        """Add the newest frame; one that would have to wait when the end is said is left out."""
        with self._changed:
            if self._keeps:
                self._changed.wait_for(lambda: len(self._waiting) < self._length or self.ended)
                if self.ended:
                    return
            self.received += 1
            self._waiting.append(arrival)
            while len(self._waiting) > self._length:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more will come."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Arrival | None:
        """Return the oldest that waits; None if none comes in time, or none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.ended, timeout_s)
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else None


class Source(Protocol):
    """Where frames come from."""

    def frames(self) -> Iterator[Arrival | Unreadable]:
        """Yield frames as they come; end, or raise CmudrnError, when the source is lost."""
        ...

    @property
    def returns(self) -> bool:
        """Whether a source that ended may be opened again."""
        ...


@dataclass(frozen=True)
class StreamSource:
    """A camera or an address that FFmpeg opens.

    Attributes:
        address: such as rtsp://camera/1, http://camera/video, /dev/video0, or a file.
        timeout_s: an address that sends nothing for so long is lost.
        is_camera: a device of this machine.
    """

    address: str
    timeout_s: float = 10.0
    is_camera: bool = False

    @property
    def returns(self) -> bool:
        """Whether a source that ended may be opened again: a file may not."""
        return self.is_camera or ("://" in self.address and not self.address.startswith("file:"))

    def frames(self) -> Iterator[Arrival]:
        """Yield frames; the damaged ones, up to the next whole one, are left out."""
        try:
            with av.open(
                self.address,
                format=_camera_format() if self.is_camera else None,
                options=self._options(),
                timeout=self.timeout_s,
            ) as container:
                if not container.streams.video:
                    raise CmudrnError(f"{_shown(self.address)} sends no video.")
                yield from self._decode(container)
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if isinstance(error, av.error.ExitError):  # FFmpeg's word for a time-out
                reason = f"nothing came for {self.timeout_s:g} s"
            raise CmudrnError(f"{_shown(self.address)}: {reason}.") from error

    def _decode(self, container: Any) -> Iterator[Arrival]:
        stream = container.streams.video[0]
        stream.codec_context.flags |= 1 << 19  # AV_CODEC_FLAG_LOW_DELAY: no frame is held back
        whole = False
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.error.InvalidDataError:
                whole = False
                continue
            for picture in pictures:
                # After a loss, pictures are patched from old ones until the next key frame.
                whole = not picture.is_corrupt and (whole or bool(picture.key_frame))
                if whole:
                    now = time.monotonic()
                    yield Arrival(to_pixels(picture, colours_of(picture)), "", now)

    def _options(self) -> dict[str, str]:
        if self.address.startswith("rtsp"):
            return {"rtsp_transport": "tcp", "fflags": "nobuffer"}
        return {"fflags": "nobuffer"} if "://" in self.address else {}


FileSignature = tuple[int, int]
"""When a file was last written, nanoseconds, and its bytes: another one is another content."""


@dataclass(frozen=True)
class FolderSource:
    """A folder that pictures are put into; those that are there at first do not count.

    Attributes:
        folder: watched with all that is below it.
        skip: files and folders in it that are not watched, such as those for the results.
        pause_s: between two looks.
        patience_s: how long a file may stay unreadable, which may still be being written.
        stop: set when no more looks are wanted.
    """

    folder: Path
    skip: tuple[Path, ...] = ()
    pause_s: float = 0.2
    patience_s: float = 3.0
    stop: threading.Event = field(default_factory=threading.Event)
    _known: dict[Path, FileSignature] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._known.update(self._look())

    @property
    def returns(self) -> bool:
        """Whether a source that ended may be opened again."""
        return True

    def frames(self) -> Iterator[Arrival | Unreadable]:
        """Yield pictures that appear or change, each once it has stopped changing.

        What was yielded is remembered when the folder is lost and opened again.

        Raises:
            CmudrnError: the folder is gone.
        """
        before: dict[Path, FileSignature] = {}
        failing: dict[tuple[Path, FileSignature], float] = {}
        while not self.stop.is_set():
            if not self.folder.is_dir():
                raise CmudrnError(f"The folder {self.folder} is gone.")
            now = self._look()
            for path, stamp in now.items():
                if stamp == self._known.get(path) or stamp != before.get(path):
                    continue
                found = _arrive(path, path.relative_to(self.folder).as_posix())
                if isinstance(found, Unreadable):
                    first = failing.setdefault((path, stamp), time.monotonic())
                    if time.monotonic() - first < self.patience_s:
                        continue
                self._known[path] = stamp
                yield found
            before = now
            failing = {key: first for key, first in failing.items() if key in now.items()}
            self.stop.wait(self.pause_s)

    def _look(self) -> dict[Path, FileSignature]:
        """Return the pictures and videos that are there, the oldest first."""
        root = self.folder.resolve()
        skipped = {
            path
            for skip in self.skip
            for path in (skip.resolve(), skip.parent.resolve() / skip.name)
            if root in path.parents  # a folder around this one hides nothing
        }
        found = []
        for path in walk(self.folder):
            real = root / path.relative_to(self.folder)
            if not skipped.isdisjoint((real, *real.parents)):
                continue
            try:
                status = path.stat()
            except OSError:  # gone again
                continue
            found.append((status.st_mtime_ns, path, status.st_size))
        return {path: (mtime_ns, size) for mtime_ns, path, size in sorted(found)}


def _arrive(path: Path, name: str) -> Arrival | Unreadable:
    try:
        picture = read_picture(path)
    except CmudrnError as error:
        return Unreadable(str(error))
    return Arrival(picture.pixels, name, time.monotonic(), picture)


def open_source(text: str, timeout_s: float = 10.0, skip: tuple[Path, ...] = ()) -> Source:
    """Return the source that a user's words mean.

    Args:
        text: an address, a camera, a file or a folder.
        timeout_s: an address that sends nothing for so long is lost.
        skip: what is not watched of a folder.

    Raises:
        CmudrnError: it is neither an address, nor a camera, file or folder that is there.
    """
    path = Path(text)
    if text.startswith("camera:"):
        return StreamSource(text.removeprefix("camera:"), timeout_s, is_camera=True)
    if path.is_dir():
        return FolderSource(path, skip)
    if "://" in text:
        return StreamSource(text, timeout_s)
    if not path.exists():
        raise CmudrnError(f"There is no camera, file or folder {text}.")
    if path.is_char_device():
        return StreamSource(text, timeout_s, is_camera=True)
    return StreamSource(f"file:{text}", timeout_s)


def _camera_format() -> str:
    return {"linux": "v4l2", "darwin": "avfoundation"}.get(sys.platform, "dshow")


def _shown(address: str) -> str:
    """Return an address as a message may name it: without a password."""
    address = address.removeprefix("file:")
    scheme, mark, rest = address.partition("://")
    server, slash, path = rest.partition("/")
    return scheme + mark + server.rpartition("@")[2] + slash + path if mark else address


@dataclass
class Statistics:
    """What happened so far.

    Attributes:
        received: frames that came.
        restored: frames that were restored.
        dropped: frames of a stream that gave way to newer ones.
        passed: frames that the gate left as they were.
        reconnects: how often a lost source was opened again.
        stalls: how often the source went stale.
        bad: files that are no pictures, or damaged ones.
        refused: pictures that could not be restored or shown.
        latencies_s: from a frame's arrival to its restoration's.
    """

    received: int = 0
    restored: int = 0
    dropped: int = 0
    passed: int = 0
    reconnects: int = 0
    stalls: int = 0
    bad: int = 0
    refused: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def record(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON; latencies in milliseconds, None before the first."""
        counts = (
            "received", "restored", "dropped", "passed", "reconnects", "stalls", "bad", "refused"
        )  # fmt: skip
        record: dict[str, Any] = {name: getattr(self, name) for name in counts}
        for percent in (50, 95, 99):
            known = list(self.latencies_s)
            # "higher" is a latency that was seen, never one between two.
            value = float(np.percentile(known, percent, method="higher")) if known else None
            record[f"p{percent}_ms"] = None if value is None else round(1000 * value, 1)
        return record


@dataclass(frozen=True)
class Watching:
    """How a source is watched.

    Attributes:
        restore: (H, W, 3) pixels -> (restored pixels, whether they passed as clear).
        show: takes each frame and its restored pixels; may raise `Refused`.
        tell: takes a word of what happened ("LIVE", "STALE", "LOST", "BAD", "REFUSED", "NOTE",
            "REPORT") and a sentence.
        stale_s: a source that sends nothing for so long is stale.
        report_s: between two reports.
        waiting: frames that may wait; one is the least delay.
        attempts: how often in a row a lost source is opened again; None is without end.
    """

    restore: Callable[[Pixels], tuple[Pixels, bool]]
    show: Callable[[Arrival, Pixels], None]
    tell: Callable[[str, str], None]
    stale_s: float = 2.0
    report_s: float = 10.0
    waiting: int = 1
    attempts: int | None = None


def watch(
    source: Source,
    watching: Watching,
    seconds: float | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> Statistics:
    """Restore what comes from a source until it ends, `seconds` are over, or Ctrl-C.

    Args:
        source: where frames come from.
        watching: what to do with them.
        seconds: how long; None is without end.
        enough: asked between frames whether to end.

    Raises:
        CmudrnError: the source cannot be opened, or was lost for good.
    """
    feed = _Feed(source, watching)
    statistics, began = feed.statistics, time.monotonic()
    last_frame = last_report = began
    live = stale = False
    feed.start()
    try:
        while (seconds is None or time.monotonic() - began < seconds) and not enough():
            arrival = feed.latest.get(min(0.2, watching.stale_s))
            now = time.monotonic()
            if arrival is not None:
                if not live or stale:
                    watching.tell("LIVE", "Frames are coming.")
                last_frame, live, stale = now, True, False
                try:
                    _restore_one(arrival, watching, statistics)
                except Refused as error:
                    statistics.refused += 1
                    watching.tell("REFUSED", str(error))
            elif feed.latest.ended:
                break
            elif not stale and now - last_frame >= watching.stale_s:
                stale, statistics.stalls = True, statistics.stalls + 1
                watching.tell("STALE", f"No frame for {now - last_frame:.1f} s.")
            if now - last_report >= watching.report_s:
                last_report = now
                watching.tell("REPORT", _sentence(feed.count()))
    except KeyboardInterrupt:  # the usual way to end it
        pass
    finally:
        feed.stop()
    feed.count()
    if feed.error is not None:
        raise feed.error
    return statistics


def _restore_one(arrival: Arrival, watching: Watching, statistics: Statistics) -> None:
    try:
        restored, passed = watching.restore(arrival.pixels)
    except CmudrnError as error:
        if arrival.picture is None:
            raise
        raise Refused(f"{arrival.name}: {error}") from error  # the next file is another one
    watching.show(arrival, restored)
    statistics.restored += 1
    statistics.passed += passed
    statistics.latencies_s.append(time.monotonic() - arrival.came_s)


def _sentence(statistics: Statistics) -> str:
    return ", ".join(f"{name} {value}" for name, value in statistics.record().items())


class _Feed:
    """The thread that reads a source, and opens it again when it is lost."""

    def __init__(self, source: Source, watching: Watching) -> None:
        # A stream's frames grow old; a folder's pictures stay where they are until their turn.
        self.latest = DropOldestQueue(watching.waiting, keeps=isinstance(source, FolderSource))
        self.statistics = Statistics()
        self.error: CmudrnError | None = None
        self._source, self._watching = source, watching
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self.latest.end()  # the thread may wait for room
        if isinstance(self._source, FolderSource):
            self._source.stop.set()
        self._thread.join(timeout=2)  # FFmpeg may wait for the net until its own timeout

    def count(self) -> Statistics:
        self.statistics.received = self.latest.received
        self.statistics.dropped = self.latest.dropped
        return self.statistics

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopped.is_set():
                before = self.latest.received
                reason = self._read_until_lost()
                if self._stopped.is_set():
                    return
                if not self._source.returns:
                    self.error = reason  # None where a file came to its end
                    return
                failures = 1 if self.latest.received > before else failures + 1
                attempts = self._watching.attempts
                if attempts is not None and failures > attempts:
                    self.error = reason or CmudrnError("The source has ended.")
                    return
                wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (failures - 1))
                self._watching.tell("LOST", f"{reason or 'The source has ended.'}")
                self._stopped.wait(wait)
                self.statistics.reconnects += 1
        finally:
            self.latest.end()

    def _read_until_lost(self) -> CmudrnError | None:
        try:
            with closing(self._source.frames()) as frames:  # type: ignore[type-var]
                for arrival in frames:
                    if self._stopped.is_set():
                        return None
                    if isinstance(arrival, Unreadable):
                        self.statistics.bad += 1
                        self._watching.tell("BAD", arrival.reason)
                    else:
                        self.latest.put(arrival)
        except CmudrnError as error:
            return error
        return None


class Recorder:
    """Restored frames as a Matroska file, each at the time it came; usable even if cut off.

    Args:
        path: the file, which must not exist.
        overwrite: it may.

    Raises:
        CmudrnError: it cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if path.suffix.lower() != ".mkv":
            raise CmudrnError(f"A recording is a .mkv file, not {path.name}.")
        check_target(None, path, overwrite)
        self._path = path
        self._output: Any = None
        self._stream: Any = None
        self._first_s = 0.0
        self._last = -1

    def add(self, arrival: Arrival, pixels: Pixels) -> None:
        """Write a frame.

        Raises:
            CmudrnError: its size differs from the first's, or the disk is full.
        """
        pixels = to_rgb(pixels)
        if pixels.dtype == np.float32:
            pixels = from_float(pixels, np.uint16)
        height, width = pixels.shape[0] & ~1, pixels.shape[1] & ~1
        try:
            if self._output is None:
                self._open(width, height)
                self._first_s = arrival.came_s
            if (self._stream.width, self._stream.height) != (width, height):
                raise CmudrnError(f"The source changed its size; {self._path} ends here.")
            self._last = max(self._last + 1, round(1000 * (arrival.came_s - self._first_s)))
            colours = colours_of(av.VideoFrame(width, height, "yuv420p"))
            frame = to_frame(pixels[:height, :width], "yuv420p", colours)
            frame.pts, frame.time_base = self._last, Fraction(1, 1000)
            self._output.mux(self._stream.encode(frame))
        except av.FFmpegError as error:
            raise CmudrnError(f"Cannot write {self._path}: {error.strerror}.") from error

    def close(self) -> None:
        """Finish the file; one that got no frame is not made."""
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            self._output.close()

    def _open(self, width: int, height: int) -> None:
        self._output = av.open(f"file:{os.fspath(self._path)}", "w", format="matroska")
        self._stream = self._output.add_stream("libx264", rate=25)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, 1000)
        self._stream.codec_context.options = {
            "crf": "18", "preset": "veryfast", "tune": "zerolatency"
        }  # fmt: skip
