"""How often a dying engine is started again, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a dying engine is started again.

    ``max_crashes`` in a row make the model failed: without one finished answer between them, and
    none after ``stable_seconds`` of life.
    one answer that was running at ``max_attempts`` crashes is given up: it may be what kills.
    Delays in seconds double from ``first_delay`` up to ``max_delay``, with full jitter.
    """

    max_crashes: int = 5
    max_attempts: int = 3
    stable_seconds: float = 60.0
    first_delay: float = 0.1
    max_delay: float = 10.0

    def delay(self, crashes: int) -> float:
        """Seconds before the start after ``crashes`` crashes in a row; 0 after the first."""
        if crashes <= 1:
            return 0.0
        return random.uniform(0, min(self.max_delay, self.first_delay * 2 ** (crashes - 1)))
