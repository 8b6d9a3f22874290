"""When to come back after a connection was lost.

This room decides delays and knows no connection. A thousand clients that lose one server at the
same instant must not come back at the same instant: every delay is drawn at random from its
whole range ("full jitter"), and a draining server's own spread is honoured.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_RANGE = 0.5
"""Seconds: the first delay is drawn from 0 to this."""

LONGEST_RANGE = 20.0
"""Seconds: the range doubles with each failure up to this."""

STEADY_AFTER = 5.0
"""Seconds that a connection must have lived for the next loss to count as the first one again."""


@dataclass(frozen=True)
class Drain:
    """What a draining server asked for, in seconds."""

    reconnect_after: float
    spread: float


class Backoff:
    """Draws the delays of one client. ``draw`` is replaced in tests."""

    def __init__(self, draw: random.Random | None = None) -> None:
        self._random = draw if draw is not None else random.Random()
        self._failures = 0

    def reset(self) -> None:
        """A connection lived: begin again with the shortest range."""
        self._failures = 0

    def next_delay(self, *, drain: Drain | None = None, at_least: float = 0.0) -> float:
        """Seconds to wait before the next attempt.

        Args:
            drain: What the server asked for before it closed; replaces the usual range.
            at_least: What it asked for otherwise (``Retry-After``); jitter comes on top.
        """
        if drain is not None:
            return drain.reconnect_after + self._random.uniform(0.0, drain.spread)
        # The exponent is bounded: 2.0**1100 overflows, and a client may try for months.
        reach = min(LONGEST_RANGE, FIRST_RANGE * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return at_least + self._random.uniform(0.0, reach)
