"""Waking the tasks that wait for a change.

A `Signal` holds no state and queues nothing: whoever waits checks the state itself first, and
again after each ring. Checking and beginning to wait happen without an await in between, so no
change is missed.
"""

from __future__ import annotations

import asyncio


class Signal:
    """Wakes every task that waits now; a ring with nobody waiting is forgotten."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
