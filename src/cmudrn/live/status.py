"""What a watched stream shows right now: its newest frame, its score, its health."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from cmudrn.image import Picture, Pixels, encode_picture
from cmudrn.live.outputs import Tell
from cmudrn.live.sources import Arrival
from cmudrn.live.statistics import WatchStatistics
from cmudrn.live.watcher import RestoreFrame, ShowFrame
from cmudrn.restoration import RestoredImage

_STATES = {"LIVE": "LIVE", "STALE": "STALE", "LOST": "LOST"}
"""Events that change the state -> the state."""
_COUNTED = {"STALE": "stalls", "LOST": "reconnects", "REFUSED": "refused"}


class Frame:
    """A restored frame.

    Attributes:
        number: 1 for the first.
        arrived_s: when its original came, seconds of `time.monotonic`.
    """

    def __init__(self, number: int, arrived_s: float, pixels: Pixels) -> None:
        self.number, self.arrived_s, self._pixels = number, arrived_s, pixels
        self._lock = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return int(self._pixels.shape[1]), int(self._pixels.shape[0])

    @property
    def jpeg(self) -> bytes:
        """The frame as a JPEG file; encoded once, when it is first asked for."""
        with self._lock:
            return self._jpeg

    @cached_property
    def _jpeg(self) -> bytes:
        pixels = self._pixels
        if pixels.dtype == np.uint16:
            pixels = np.round(pixels / 257).astype(np.uint8)
        return encode_picture(Picture(pixels), "jpeg")


class LiveStatus:
    """Watches a watch: wraps what it calls, and keeps what others want to know.

    All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state, self._frame = "STARTING", None  # type: tuple[str, Frame | None]
        self._last: RestoredImage | None = None
        self._statistics = WatchStatistics()
        self._closed = False

    def restore(self, restore: RestoreFrame) -> RestoreFrame:
        """Return a `RestoreFrame` that also notes each result's weather score."""

        def restore_and_note(pixels: Pixels) -> list[RestoredImage]:
            finished = restore(pixels)
            with self._changed:
                self._last = finished[-1] if finished else self._last
            return finished

        return restore_and_note

    def show(self, show: ShowFrame) -> ShowFrame:
        """Return a `ShowFrame` that also notes each frame."""

        def show_and_note(arrival: Arrival, pixels: Pixels) -> None:
            show(arrival, pixels)
            with self._changed:
                statistics = self._statistics
                statistics.restored += 1
                statistics.passed += self._last is not None and self._last.passed
                statistics.latencies_s.append(time.monotonic() - arrival.arrived_s)
                self._frame = Frame(statistics.restored, arrival.arrived_s, pixels)
                self._changed.notify_all()

        return show_and_note

    def tell(self, tell: Tell) -> Tell:
        """Return a `Tell` that also notes the state."""

        def tell_and_note(word: str, sentence: str) -> None:
            with self._changed:
                self._state = _STATES.get(word, self._state)
                if word in _COUNTED:
                    name = _COUNTED[word]
                    setattr(self._statistics, name, getattr(self._statistics, name) + 1)
                self._changed.notify_all()
            tell(word, sentence)

        return tell_and_note

    def close(self) -> None:
        """Wake everyone who waits for a frame: no more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the watch has ended."""
        return self._closed

    @property
    def is_live(self) -> bool:
        """Whether frames are coming."""
        return self._state == "LIVE"

    @property
    def frame(self) -> Frame | None:
        """The newest frame; None before the first."""
        return self._frame

    def next_frame(self, after: int, timeout_s: float) -> Frame | None:
        """Return the newest frame once its number is greater; None if none comes in time.

        Args:
            after: number of the last frame that the caller has.
            timeout_s: how long to wait.
        """

        def is_there() -> bool:
            return self._closed or (self._frame is not None and self._frame.number > after)

        with self._changed:
            self._changed.wait_for(is_there, timeout_s)
            frame = self._frame
        return frame if frame is not None and frame.number > after else None

    def to_json(self) -> Mapping[str, object]:
        """Return state, weather, size, age and latency of the newest frame, and counts.

        `weather` is None without a score. Times are in milliseconds.
        """
        with self._changed:
            frame, state, last = self._frame, self._state, self._last
            counts = dict(self._statistics.to_json())
            latencies = self._statistics.latencies_s
            latency_s = latencies[-1] if latencies else None
        weather = last.weather if last is not None else None
        for unknown in ("received", "dropped", "bad"):
            del counts[unknown]
        return {
            "state": state,
            "weather": None if weather is None else weather.weather,
            "score": weather
            and {kind: round(getattr(weather, kind), 4) for kind in ("rain", "snow", "clear")},
            "size": frame and list(frame.size),
            "age_ms": frame and round(1000 * (time.monotonic() - frame.arrived_s)),
            "latency_ms": None if latency_s is None else round(1000 * latency_s, 1),
            **counts,
        }
