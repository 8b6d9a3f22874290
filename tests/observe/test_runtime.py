"""The interpreter's own stalls are seen."""

from __future__ import annotations

import asyncio
import gc
import time

from wsserver.observe.runtime import watch_collector, watch_loop


def stall() -> None:
    time.sleep(0.15)  # the stall itself: nothing but a busy thread holds the loop


async def test_a_blocked_loop_is_reported() -> None:
    """Work that holds the loop shows as lag of about its length."""
    lags: asyncio.Queue[float] = asyncio.Queue()
    watcher = asyncio.create_task(watch_loop(lags.put_nowait, interval=0.01))
    await lags.get()
    stall()
    assert await lags.get() > 0.1
    watcher.cancel()


def test_collections_are_reported_inside_the_block_only() -> None:
    """A collection's time is positive, and the hook is gone afterwards."""
    pauses: list[float] = []
    callbacks = gc.callbacks[:]
    with watch_collector(pauses.append):
        gc.collect()
    assert pauses
    assert all(seconds > 0 for seconds in pauses)
    assert gc.callbacks == callbacks
