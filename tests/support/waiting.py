"""Waiting for what no frame tells: asked again and again, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds; fail after ``seconds``. For states without an event."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition of core has no event
            await asyncio.sleep(POLL_SECONDS)


async def eventually_so(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """As `eventually`, where the condition has to be asked for elsewhere."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is elsewhere has no event here
            await asyncio.sleep(POLL_SECONDS)
