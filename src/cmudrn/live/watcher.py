"""A live source watched: a stream's newest frame, and every image of a folder, is restored."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.image import Pixels
from cmudrn.live.outputs import RefusedImageError, Tell
from cmudrn.live.queue import DropOldestQueue
from cmudrn.live.sources import Arrival, FolderSource, Source, UnreadableFile
from cmudrn.live.statistics import WatchStatistics
from cmudrn.restoration import (
    FrameRestorer,
    RestoredImage,
    Restorer,
    RestoreSettings,
    check_settings,
    restore_image,
)
from cmudrn.video.access import AddressRefusedError

MIN_REOPEN_S, MAX_REOPEN_S = 0.5, 10.0
"""Seconds until a lost source is opened again: doubled each time it fails."""

RestoreFrame = Callable[[Pixels], list[RestoredImage]]
"""Takes the next image and returns what is finished: that one, or the one before, or none."""
ShowFrame = Callable[[Arrival, Pixels], None]
"""Takes what came and its restored pixels; may raise `RefusedImageError`."""


@dataclass(frozen=True)
class WatchSettings:
    """How a source is watched.

    Attributes:
        stale_s: a stream that sends nothing for so long is stale, seconds.
        report_s: seconds between two reports.
        waiting: frames that may wait; one is the least delay.
        attempts: how often in a row a lost source is opened again; None is without end.
        seconds: how long to watch; None is without end.
    """

    stale_s: float = 2.0
    report_s: float = 10.0
    waiting: int = 1
    attempts: int | None = None
    seconds: float | None = None


def make_restore(
    restorer: Restorer, settings: RestoreSettings, source: Source, lookahead: int | None = 0
) -> RestoreFrame:
    """Return what restores the images of a source, as clips are: one rule for gate and veil.

    Args:
        restorer: the model and how it is run.
        settings: for every image.
        source: frames of a sequence share what lasts from frame to frame; images of a folder have
            nothing to do with each other.
        lookahead: of a stream, whether a frame waits for the next one (1) or not (0), to be fused
            with it as with the ones before; None restores each frame by itself.

    Raises:
        ModelFileError: the gate or score is wanted and the model gives no score.
        InvalidSettingError: there is no such lookahead, or the model has no such depth or no veil
            estimator.
    """
    check_settings(restorer.info, settings)
    if not source.is_sequence:
        return lambda pixels: [restore_image(restorer, pixels, settings)]
    frames = FrameRestorer(restorer, settings, lookahead=lookahead)
    return lambda pixels: [frame.image for frame in frames.put(pixels)]


def watch(
    source: Source,
    restore: RestoreFrame,
    show: ShowFrame,
    tell: Tell,
    settings: WatchSettings | None = None,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> WatchStatistics:
    """Restore what comes from a source until it ends, the time is over, or Ctrl-C.

    Args:
        source: where images come from.
        restore: from `make_restore`.
        show: takes each result, such as an `OutputWriter`.
        tell: told of what happens, in one word ("LIVE", "STALE", "LOST", "BAD", "REFUSED", "NOTE",
            "DONE", "REPORT") and a sentence.
        settings: how to watch; None is the default.
        stop: asked between images whether to end.

    Raises:
        CmudrnError: the source cannot be opened, or was lost for good.
    """
    return _Watch(source, restore, show, tell, settings or WatchSettings()).run(stop)


class _Watch:
    """One run of `watch`."""

    def __init__(
        self,
        source: Source,
        restore: RestoreFrame,
        show: ShowFrame,
        tell: Tell,
        settings: WatchSettings,
    ) -> None:
        self._source, self._restore, self._show = source, restore, show
        self._tell, self._settings = tell, settings
        self._reader = _SourceReader(source, tell, settings)
        self._statistics = self._reader.statistics
        self._pending: deque[Arrival] = deque()  # restored, and not shown yet
        self._live = self._stale = False
        self._last_frame = self._last_report = 0.0

    def run(self, stop: Callable[[], bool]) -> WatchStatistics:
        began = self._last_frame = self._last_report = time.monotonic()
        seconds, queue = self._settings.seconds, self._reader.queue
        self._reader.start()
        try:
            while (seconds is None or time.monotonic() - began < seconds) and not stop():
                arrival = queue.get(min(0.2, self._settings.stale_s))
                if arrival is not None:
                    self._take(arrival)
                elif queue.ended:
                    break
                self._report()
        except KeyboardInterrupt:  # the usual way to end it
            pass
        finally:
            self._reader.stop()
        self._reader.count()
        if self._reader.error is not None:
            raise self._reader.error
        return self._statistics

    def _take(self, arrival: Arrival) -> None:
        if not self._live or self._stale:
            self._tell("LIVE", "Frames are coming.")
        self._last_frame, self._live, self._stale = time.monotonic(), True, False
        try:
            self._restore_one(arrival)
        except RefusedImageError as error:
            self._statistics.refused += 1
            self._tell("REFUSED", str(error))

    def _restore_one(self, arrival: Arrival) -> None:
        try:
            finished = self._restore(arrival.pixels)
        except CmudrnError as error:
            if arrival.picture is None:
                raise
            # The next file is another one.
            raise RefusedImageError(f"{arrival.name}: {error}") from error
        self._pending.append(arrival)
        for done in finished:
            shown = self._pending.popleft()
            self._show(shown, done.pixels)
            if shown.picture is not None:
                for note in done.notes:
                    self._tell("NOTE", f"{shown.name}: {note}")
            self._statistics.restored += 1
            self._statistics.passed += done.passed
            self._statistics.latencies_s.append(time.monotonic() - shown.arrived_s)

    def _report(self) -> None:
        now, settings = time.monotonic(), self._settings
        silent = now - self._last_frame
        # A folder where nothing is put is no fault.
        if self._source.is_sequence and not self._stale and silent >= settings.stale_s:
            self._stale = True
            self._statistics.stalls += 1
            self._tell("STALE", f"No frame for {silent:.1f} s.")
        if now - self._last_report >= settings.report_s:
            self._last_report = now
            self._tell("REPORT", str(self._reader.count()))


class _SourceReader:
    """The thread that reads a source, and opens it again when it is lost."""

    def __init__(self, source: Source, tell: Tell, settings: WatchSettings) -> None:
        # A stream's frames grow old; a folder's images stay where they are until their turn.
        self.queue = DropOldestQueue(settings.waiting, lossless=not source.is_sequence)
        self.statistics = WatchStatistics()
        self.error: CmudrnError | None = None
        self._source, self._tell, self._settings = source, tell, settings
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self.queue.end()  # the thread may wait for room
        if isinstance(self._source, FolderSource):
            self._source.stop.set()
        self._thread.join(timeout=2)  # FFmpeg may wait for the net until its own timeout

    def count(self) -> WatchStatistics:
        self.statistics.received = self.queue.received
        self.statistics.dropped = self.queue.dropped
        return self.statistics

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopped.is_set():
                before = self.queue.received
                reason = self._read_until_lost()
                if self._stopped.is_set():
                    return
                failures = 1 if self.queue.received > before else failures + 1
                if self._is_final(reason, failures):
                    return
                self._tell("LOST", f"{reason or 'The source has ended.'}")
                self._stopped.wait(min(MAX_REOPEN_S, MIN_REOPEN_S * 2 ** (failures - 1)))
                self.statistics.reconnects += 1
        finally:
            self.queue.end()

    def _is_final(self, reason: CmudrnError | None, failures: int) -> bool:
        """Return whether a source is lost for good; keeps the reason."""
        attempts = self._settings.attempts
        if not self._source.reopens:
            self.error = reason  # None where a file came to its end
        elif isinstance(reason, AddressRefusedError | LimitExceededError):
            self.error = reason
        elif attempts is not None and failures > attempts:
            self.error = reason or CmudrnError("The source has ended.")
        else:
            return False
        return True

    def _read_until_lost(self) -> CmudrnError | None:
        try:
            with closing(self._source.frames()) as frames:  # type: ignore[type-var]
                for arrival in frames:
                    if self._stopped.is_set():
                        return None
                    if isinstance(arrival, UnreadableFile):
                        self.statistics.bad += 1
                        self._tell("BAD", arrival.reason)
                    else:
                        self.queue.put(arrival)
        except CmudrnError as error:
            return error
        return None
