"""When a process writes the text of its answers: all of them at once, as seldom as can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

FLUSH_SECONDS = 0.04
"""Between two writings of an answer's text: at 60 tokens a second at most 420 for 1,000 tokens. At
25 ms it would be 670, each with 250 bytes that are not text, for 7 ms less delay on average."""

GRACE_SECONDS = 0.015
"""For which a writing that is due waits for the engine's next step, and goes out with that: a loop
that has nothing else to do need not be woken for the writing alone."""


class TextTick:
    """Calls ``flush`` in time, from the loop.

    Args:
        flush: Writes what there is.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._soon: asyncio.Handle | None = None  # when this tick of the loop is over
        self._later: asyncio.TimerHandle | None = None
        self._last = 0.0

    def soon(self) -> None:
        """When this tick of the loop is over: what others have made in it goes along."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._run)

    def in_time(self) -> None:
        """With the first text that comes when a writing is due, or without one a little later."""
        now = asyncio.get_running_loop().time()
        if now >= self._last + FLUSH_SECONDS:
            self.soon()
        else:
            self.at(self._last + FLUSH_SECONDS + GRACE_SECONDS)

    def at(self, when: float) -> None:
        """At a loop time, if nothing is to happen by then anyway."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_at(when, self._run)

    def stop(self) -> None:
        """Not at all."""
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None

    def _run(self) -> None:
        self.stop()
        self._last = asyncio.get_running_loop().time()
        self._flush()
