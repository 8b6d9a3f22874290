"""A callback with one timer, which is only ever moved forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Runs a callback once, at the earliest of the times that it was set to."""

    __slots__ = ("_at", "_callback", "_loop", "_timer")

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._at = 0.0

    def set(self, when: float) -> None:
        """Have the callback run at ``when`` (loop time; in the past: soon), or earlier."""
        if self._timer is not None:
            if self._at <= when:
                return
            self._timer.cancel()
        if when <= self._loop.time():
            self._at = 0.0
            self._timer = self._loop.call_soon(self._ring)
        else:
            self._at = when
            self._timer = self._loop.call_at(when, self._ring)

    @property
    def is_set(self) -> bool:
        return self._timer is not None

    def cancel(self) -> None:
        """Run it no more, until it is set again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self._callback()
