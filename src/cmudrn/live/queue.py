"""A bounded queue between the thread that reads a source and the one that restores."""

from __future__ import annotations

import threading
from collections import deque

from cmudrn.live.sources import Arrival


class DropOldestQueue:
    """A queue of few frames: where it is full, the oldest is dropped, or the source waits.

    Args:
        length: how many frames may wait.
        lossless: the source waits instead.

    Attributes:
        received: frames that were put in.
        dropped: frames that gave way to newer ones.
        ended: whether no more will come.
    """

    def __init__(self, length: int = 1, *, lossless: bool = False) -> None:
        self._waiting: deque[Arrival] = deque()
        self._length, self._lossless = length, lossless
        self._changed = threading.Condition()
        self.received = 0
        self.dropped = 0
        self.ended = False

    def put(self, arrival: Arrival) -> None:
        """Add the newest frame; a lossless queue that ends while it waits leaves it out."""
        with self._changed:
            if self._lossless:
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
        """Return the oldest frame that waits; None if none comes in time, or none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.ended, timeout_s)
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else None
