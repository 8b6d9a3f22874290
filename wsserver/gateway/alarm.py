"""Callbacks at a time, for as many as a gateway has connections.

A timer of the loop's own for each piece of each stream costs about as much as making the piece. So
what is due within the same millisecond, which is as exactly as the loop knows the time, shares one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush

AT_ONCE = 64
"""Alarms that ring in one turn of the loop: between two turns frames are read, however many
streams have the same beat."""

SOON, NEVER = 0, -1
"""Milliseconds that are none: of what is due already, and of what is not to ring."""


class Clock:
    """Rings the alarms of one loop. What one of them raises is told to the loop, and the others
    ring all the same."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._alarms: dict[int, list[Alarm]] = {}  # by the millisecond in which they ring
        self._order: list[int] = []  # of these, as a heap
        self._timer: asyncio.Handle | None = None  # for the first one

    def add(self, alarm: Alarm, when: float) -> int:
        """Have an alarm ring at ``when`` (loop time), or soon; returns the millisecond of that."""
        now = self._loop.time()
        if when <= now:
            at = SOON
        else:
            # What is less than a microsecond off is meant: few milliseconds are whole as floats.
            at = max(int(when * 1000 + 0.999), int(now * 1000) + 1)
        alarms = self._alarms.get(at)
        if alarms is not None:
            alarms.append(alarm)
            return at
        self._alarms[at] = [alarm]
        heappush(self._order, at)
        if self._order[0] == at:
            self._arm()
        return at

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        first = self._order[0]
        if first == SOON:
            self._timer = self._loop.call_soon(self._ring)
        else:
            self._timer = self._loop.call_at(first / 1000, self._ring)

    def _ring(self) -> None:
        self._timer = None
        for at, alarm in self._due():  # all are taken out first: what is set now rings next time
            try:
                alarm.ring(at)
            except Exception as fault:
                self._loop.call_exception_handler(
                    {"message": f"an alarm's callback failed: {alarm!r}", "exception": fault}
                )
        if self._order and self._timer is None:
            self._arm()

    def _due(self) -> list[tuple[int, Alarm]]:
        """Take out what rings in this turn."""
        now = int(self._loop.time() * 1000 + 0.001)
        due: list[tuple[int, Alarm]] = []
        while self._order and self._order[0] <= now and len(due) < AT_ONCE:
            at = self._order[0]
            alarms = self._alarms[at]
            some = alarms[: AT_ONCE - len(due)]
            due += [(at, alarm) for alarm in some]
            if len(some) == len(alarms):
                heappop(self._order)
                del self._alarms[at]
            else:
                del alarms[: len(some)]
        return due


class Alarm:
    """Runs a callback once, at the earliest of the times that it was set to.

    Attributes:
        at: The millisecond in which it rings; `SOON`, or `NEVER` while it is not set.
    """

    __slots__ = ("_callback", "_clock", "_when", "at")

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self.at = NEVER
        self._when = 0.0

    def set(self, when: float) -> None:
        """Have the callback run at ``when`` (loop time; in the past: soon), or earlier."""
        if self.at == NEVER or when < self._when:
            self._when = when
            self.at = self._clock.add(self, when)

    def cancel(self) -> None:
        """Run it no more, until it is set again."""
        self.at = NEVER

    def ring(self, at: int) -> None:
        """Run the callback, unless it was moved or cancelled since it was set to ``at``."""
        if self.at == at:
            self.at = NEVER
            self._callback()
