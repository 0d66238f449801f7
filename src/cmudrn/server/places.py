"""A bounded number of pictures in the server, from the last byte of each to that of its answer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

from cmudrn.server.problems import Problem

MAX_RETRY_SECONDS = 60


class Places:
    """Counts the pictures that are held, and refuses those that would be too many.

    Args:
        count: how many may be held at once.
        expected_seconds: tells how long a place is held, so that clients know when to come again.

    Attributes:
        taken: how many are held.
    """

    def __init__(self, count: int, expected_seconds: Callable[[], float]) -> None:
        self._count = count
        self._expected_seconds = expected_seconds
        self.taken = 0

    @property
    def are_full(self) -> bool:
        """Whether none is left."""
        return self.taken >= self._count

    def check(self) -> None:
        """Do nothing while a place is left.

        Raises:
            Problem: all are taken.
        """
        if self.are_full:
            wait = min(max(math.ceil(self._expected_seconds()), 1), MAX_RETRY_SECONDS)
            raise Problem(
                503, "The server is busy; try again in a moment.", {"Retry-After": str(wait)}
            )

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold one place.

        Raises:
            Problem: all are taken.
        """
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
