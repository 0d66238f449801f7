"""Counts and times in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from cmudrn.server.worker_pool import WorkerPool

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One server's counts; `text` is what `/metrics` answers.

    Args:
        pool: does the work.
        waiting: tells how many whole pictures wait for a worker or for their client.

    Attributes:
        answers: requests to /restore by status.
        seconds: time a picture's restoration took, without waiting.
        pixels: restored.
        departures: clients that left before their answer.
    """

    def __init__(self, pool: WorkerPool, waiting: Callable[[], int]) -> None:
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
        running.set_function(lambda: pool.running)
        waiting_gauge = Gauge("cmudrn_waiting", "Requests waiting for it.", registry=self._registry)
        waiting_gauge.set_function(waiting)

    def text(self) -> bytes:
        """Return all of them in the Prometheus text format."""
        return generate_latest(self._registry)
