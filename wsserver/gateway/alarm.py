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

NEVER = -1
"""The millisecond of what is not set."""


class Clock:
    """Rings the alarms of one loop, those that were due first first.

    What is due at once stands among them by the time at which that was said: else connections that
    always have something to send would keep those waiting who have a beat. What one alarm raises is
    told to the loop, and the others ring all the same.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._alarms: dict[int, list[Alarm]] = {}  # by the millisecond in which they ring
        self._order: list[int] = []  # of these, as a heap
        self._timer: asyncio.Handle | None = None  # for the first one

    def add(self, alarm: Alarm, when: float) -> tuple[int, bool]:
        """Have an alarm ring at ``when`` (loop time), or in the next turn of the loop.

        Returns:
            The millisecond of that, and whether it is later than now.
        """
        now = self._loop.time()
        at, is_later = int(now * 1000), when > now
        if is_later:
            # What is less than a microsecond off is meant: few milliseconds are whole as floats.
            at = max(int(when * 1000 + 0.999), at + 1)
        self._add(alarm, at)
        return at, is_later

    def _add(self, alarm: Alarm, at: int) -> None:
        alarms = self._alarms.get(at)
        if alarms is not None:
            alarms.append(alarm)
            return
        self._alarms[at] = [alarm]
        heappush(self._order, at)
        if self._order[0] == at:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        when = self._order[0] / 1000
        if when <= self._loop.time():
            self._timer = self._loop.call_soon(self._ring)
        else:
            self._timer = self._loop.call_at(when, self._ring)

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
        is_later: Whether it is set, and was not due by then.
    """

    __slots__ = ("_at", "_callback", "_clock", "_when", "is_later")

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._at = NEVER  # the millisecond in which it rings
        self._when = 0.0
        self.is_later = False

    def set(self, when: float) -> None:
        """Have the callback run at ``when`` (loop time; in the past: soon), or earlier."""
        if self._at == NEVER or (self.is_later and when < self._when):
            self._when = when
            self._at, self.is_later = self._clock.add(self, when)

    def cancel(self) -> None:
        """Run it no more, until it is set again."""
        self._at = NEVER
        self.is_later = False

    def ring(self, at: int) -> None:
        """Run the callback, unless it was moved or cancelled since it was set to ``at``."""
        if self._at == at:
            self.cancel()
            self._callback()
