"""Callbacks at a time, for as many as a gateway has connections.

A timer of the loop's own for each piece of each stream costs as much as making the piece. So what is
due within the same millisecond, which is as exactly as the loop knows the time, shares one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import islice

AT_ONCE = 64
"""Alarms that ring in one turn of the loop: between two turns frames are read, however many
streams have the same beat."""

_SOON = 0
"""The millisecond of what is due in any case. No other one is as early."""


class Clock:
    """Rings the alarms of one loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set: dict[int, list[Alarm]] = {}  # by the millisecond in which they ring
        self._order: list[int] = []  # of these, a heap
        self._timer: asyncio.Handle | None = None  # for the first of these
        self._ringing: Iterator[tuple[int, Alarm]] = iter(())

    def add(self, alarm: Alarm, when: float) -> int:
        """Have an alarm ring at ``when`` (loop time), or soon; returns the millisecond."""
        now = self._loop.time()
        # Up to a microsecond early: a whole millisecond is seldom one as a float.
        at = _SOON if when <= now else max(int(when * 1000 + 0.999), int(now * 1000) + 1)
        alarms = self._set.get(at)
        if alarms is None:
            self._set[at] = [alarm]
            heappush(self._order, at)
            if self._order[0] == at:
                self._arm()
        else:
            alarms.append(alarm)
        return at

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        first = self._order[0]
        if first == _SOON:
            self._timer = self._loop.call_soon(self._ring)
        else:
            self._timer = self._loop.call_at(first / 1000, self._ring)
