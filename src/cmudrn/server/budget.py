"""How much memory pictures on their way in, at work and on their way out may take together."""

from __future__ import annotations

import asyncio


class MemoryBudget:
    """A number of bytes that requests share; used from one event loop.

    Args:
        limit: bytes; one that is larger than this alone never fits.

    Attributes:
        limit: likewise.
        taken: bytes in use.
        waiting: how many wait for more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._freed = asyncio.Event()
        self.taken = 0
        self.waiting = 0

    def try_take(self, size: int) -> bool:
        """Take some bytes if there is room for them; return whether there was."""
        if self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    async def take(self, size: int) -> None:
        """Take some bytes as soon as there is room for them."""
        self.waiting += 1
        try:
            while not self.try_take(size):
                self._freed.clear()
                await self._freed.wait()
        finally:
            self.waiting -= 1

    def force(self, size: int) -> None:
        """Take some bytes whether there is room for them or not."""
        self.taken += size

    def release(self, size: int) -> None:
        """Give bytes back."""
        self.taken -= size
        self._freed.set()


class Allocations:
    """The parts of a budget that whole pictures have; those that wait are served in turn.

    Args:
        budget: that they are of.
        cores: processor threads that pictures at work share.

    Attributes:
        working: pictures that are being restored.
    """

    def __init__(self, budget: MemoryBudget, cores: int) -> None:
        self.budget = budget
        self.working = 0
        self._cores = cores
        self._turn = asyncio.Lock()

    @property
    def are_blocked(self) -> bool:
        """Whether nothing but answers that are not read keeps others from going on."""
        return self.budget.waiting > 0 and not self.working

    async def take(self, allocation: Allocation, size: int) -> int:
        """Return how many threads to restore a picture with, once there is memory for it."""
        size = min(size, self.budget.limit)
        async with self._turn:
            await self.budget.take(size)
        allocation.held, allocation.is_working = size, True
        self.working += 1
        return max(1, self._cores // self.working)


class Allocation:
    """What one picture has of a budget: first to be restored in, then for its answer.

    Args:
        allocations: that it is one of.
    """

    def __init__(self, allocations: Allocations) -> None:
        self._allocations = allocations
        self.held = 0
        self.is_working = False

    async def take(self, size: int) -> int:
        """Return how many threads to restore the picture with, once there is memory for it."""
        return await self._allocations.take(self, size)

    def shrink(self, size: int) -> None:
        """Keep no more than an answer takes: the picture is restored."""
        self._end_work()
        released = max(0, self.held - size)
        self.held -= released
        self._allocations.budget.release(released)

    def release(self) -> None:
        """Keep nothing; more than once does no harm."""
        self.shrink(0)

    def _end_work(self) -> None:
        self._allocations.working -= self.is_working
        self.is_working = False
