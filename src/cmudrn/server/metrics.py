"""Counts and times in the Prometheus text format."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from cmudrn.server.queue import Queue

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One server's counts; `text` is what `/metrics` answers.

    Attributes:
        answers: requests to /restore by status.
        seconds: time a picture's restoration took, without waiting.
        pixels: restored.
        departures: clients that left before their answer.
    """

    def __init__(self, queue: Queue) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.answers = Counter(
            "cmudrn_restore_requests", "Requests to /restore.", ["status"], registry=self._registry
        )
        self.seconds = Histogram(
            "cmudrn_restore_seconds", "Work on one picture, seconds.", registry=self._registry
        )
        self.pixels = Counter("cmudrn_pixels", "Pixels restored.", registry=self._registry)
        self.departures = Counter(
            "cmudrn_departures", "Clients that left too early.", registry=self._registry
        )
        running = Gauge("cmudrn_running", "Pictures being restored.", registry=self._registry)
        running.set_function(lambda: queue.running)
        waiting = Gauge("cmudrn_waiting", "Requests waiting for it.", registry=self._registry)
        waiting.set_function(lambda: queue.waiting)

    def text(self) -> bytes:
        """Return all of them in the Prometheus text format."""
        return generate_latest(self._registry)
