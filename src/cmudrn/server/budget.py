"""How much memory pictures on their way in, and answers on their way out, may take together."""

from __future__ import annotations

import asyncio


class MemoryBudget:
    """A number of bytes that requests share; used from one event loop.

    Args:
        limit: bytes; one that is larger than this alone never fits.

    Attributes:
        taken: bytes in use.
        waiting: how many wait for more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._freed = asyncio.Event()
        self.taken = 0
        self.waiting = 0

    def try_take(self, size: int) -> bool:
        """Take some bytes if there is room for them; return whether there was."""
        if self.taken + size > self._limit:
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

    def release(self, size: int) -> None:
        """Give bytes back."""
        self.taken -= size
        self._freed.set()
