"""How fast people go: as the machine can follow, and slower where it can't.

A fleet that is short of processors answers late, and who waits for answers asks less: so do the
people of the harness, who wait for what they asked. What else they do is paced here: so many deeds
a second of all together, and fewer while the processors are busy all the time. Without this the
harness would measure how a machine drowns, and every time limit in it would be a violation.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

DEEDS_A_SECOND = 40.0
"""Of all people together, on a machine that has time."""

LEAST_PAUSE = 0.1

BUSY, CALM = 0.9, 0.75
"""Shares of the processors' time: people slow down above the one, and go faster below the other."""

SLOWEST = 6.0

LOOK_EVERY = 1.0


class Pace:
    """Pauses between deeds.

    Args:
        people: How many share the pace.

    Attributes:
        busy: Share of the processors' time that was used lately.
    """

    def __init__(self, people: int) -> None:
        self.busy = 0.0
        self._mean = people / DEEDS_A_SECOND
        self._slower = 1.0
        self._looked_at = time.monotonic()
        self._began = self._seen = _processor_time()

    @property
    def busy_on_average(self) -> float:
        """Share of the processors' time that was used since the beginning."""
        return _share(self._began, _processor_time())

    def pause(self, rng: random.Random) -> float:
        """Seconds until one of them does something again."""
        self._look()
        return LEAST_PAUSE + rng.uniform(0, 2 * self._mean) * self._slower

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY:
            return
        seen = _processor_time()
        self.busy = _share(self._seen, seen)
        self._looked_at, self._seen = now, seen
        if self.busy > BUSY:
            self._slower = min(SLOWEST, self._slower * 1.25)
        elif self.busy < CALM:
            self._slower = max(1.0, self._slower / 1.1)


def _processor_time() -> tuple[int, int]:
    """Used and whole time of all processors, in ticks."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)  # less idle, less waiting for disks


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    whole = after[1] - before[1]
    return (after[0] - before[0]) / whole if whole else 0.0
