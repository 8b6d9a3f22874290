"""Watching the interpreter: is the event loop on time, and how long does the collector stop it?

Both are what users feel as stutter in all streams at once. This room measures and reports
seconds; it does not know where they are kept.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SAMPLE_SECONDS = 0.25
"""Short enough to meet a stall of a second four times, long enough to cost nothing."""

Report = Callable[[float], None]


async def watch_loop(report: Report, interval: float = SAMPLE_SECONDS) -> None:
    """Report, every ``interval`` seconds, how many seconds late the timer ran. Never returns."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        report(max(0.0, loop.time() - due))


@contextmanager
def watch_collector(report: Report) -> Iterator[None]:
    """Report the seconds of every garbage collection inside the block."""
    started = 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        elif started:  # else the block began within a collection
            report(time.perf_counter() - started)

    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
