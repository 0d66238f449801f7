"""What happened while a source was watched."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

PERCENTILE_WINDOW = 10_000
"""Latencies that the percentiles are taken over, the latest ones."""

_COUNTS = (
    "received", "restored", "dropped", "passed", "reconnects", "stalls", "bad", "refused"
)  # fmt: skip


@dataclass
class WatchStatistics:
    """What happened so far.

    Attributes:
        received: frames that came.
        restored: frames that were restored.
        dropped: frames of a stream that gave way to newer ones.
        passed: frames that the gate left as they were.
        reconnects: how often a lost source was opened again.
        stalls: how often the source went stale.
        bad: files that are no images, or damaged ones.
        refused: images that could not be restored or written.
        latencies_s: seconds from a frame's arrival to its result, the latest ones.
    """

    received: int = 0
    restored: int = 0
    dropped: int = 0
    passed: int = 0
    reconnects: int = 0
    stalls: int = 0
    bad: int = 0
    refused: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=PERCENTILE_WINDOW))

    def to_json(self) -> Mapping[str, int | float | None]:
        """Return counts and latencies; the latter in milliseconds, None before the first frame."""
        record: dict[str, int | float | None] = {name: getattr(self, name) for name in _COUNTS}
        known = list(self.latencies_s)
        for percent in (50, 95, 99):
            # "higher" is a latency that was measured, never one between two.
            value = float(np.percentile(known, percent, method="higher")) if known else None
            record[f"p{percent}_ms"] = None if value is None else round(1000 * value, 1)
        return record

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())
