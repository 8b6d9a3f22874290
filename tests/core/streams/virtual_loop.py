"""An event loop whose time is virtual: where nothing is ready it jumps to the next timer.

Everything that runs on it (our outbox with its timers included) runs as in production, only at
once and in the same order each time. It does no I/O.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _Jump(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at time 0. An exception in a callback stops it and stays in ``failures``."""

    def __init__(self) -> None:
        self._virtual_now = 0.0
        super().__init__(_Jump(self._advance))
        self.failures: list[BaseException | str] = []
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        return self._virtual_now

    def run_to(self, end: float) -> None:
        """Run what is due up to ``end``, or until `stop`."""
        timer = self.call_at(end, self.stop)
        self.run_forever()
        timer.cancel()

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise AssertionError("nothing is left to happen")
        self._virtual_now += timeout

    def _note_failure(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception") or context["message"])
        self.stop()
