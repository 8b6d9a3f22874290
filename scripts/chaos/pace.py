"""How fast people go: as the machine can follow, and slower where it can't.

A fleet that is short of processors answers late, and who waits for answers asks less: so do the
people of the harness, who wait for what they asked. What else they do is paced here: so many deeds
a second of all together, and fewer while the machine is late. How late it is shows in the harness's
own timers, which compete with the fleet for the same processors. Without this the harness would
measure how a machine drowns, and every time limit in it would be a violation.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

DEEDS_A_SECOND = 40.0
"""Of all people together, on a machine that has time."""

LEAST_PAUSE = 0.1

LATE, PUNCTUAL = 0.3, 0.1
"""Seconds by which timers run late: people slow down above the one, and go faster below the
other."""

SLOWEST = 5.0

SLOWER, FASTER = 1.02, 0.99
"""By what a pause that was too long, or long enough, changes the following ones."""

INERTIA = 0.95
"""How much of the lateness is that of before."""


class Pace:
    """Pauses between deeds.

    Args:
        people: How many share the pace.

    Attributes:
        late: Seconds by which timers run late, lately.
    """

    def __init__(self, people: int) -> None:
        self.late = 0.0
        self._mean = people / DEEDS_A_SECOND
        self._slower = 1.0
        self._began = _processor_time()

    def busy(self) -> float:
        """Share of the processors' time that was used since the beginning, by whomever."""
        before, now = self._began, _processor_time()
        whole = now[1] - before[1]
        return (now[0] - before[0]) / whole if whole else 0.0

    async def pause(self, rng: random.Random) -> None:
        """Wait until one of them does something again."""
        loop = asyncio.get_running_loop()
        due = loop.time() + LEAST_PAUSE + rng.uniform(0, 2 * self._mean) * self._slower
        await asyncio.sleep(due - loop.time())
        self.late = INERTIA * self.late + (1 - INERTIA) * (loop.time() - due)
        if self.late > LATE:
            self._slower = min(SLOWEST, self._slower * SLOWER)
        elif self.late < PUNCTUAL:
            self._slower = max(1.0, self._slower * FASTER)


def _processor_time() -> tuple[int, int]:
    """Used and whole time of all processors, in ticks."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)  # less idle, less waiting for disks
