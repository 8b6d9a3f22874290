"""How fast a model's slots become free: what a refused caller is told to wait."""

from __future__ import annotations

_WEIGHT = 0.2  # of the newest interval: the last ten or so decide
LEAST_SECONDS, MOST_SECONDS = 0.1, 60.0
UNKNOWN_SECONDS = 1.0


class Pace:
    """Mean time between two ends of answers, as it was lately."""

    def __init__(self) -> None:
        self._interval: float | None = None
        self._last: float | None = None

    def note_end(self, now: float) -> None:
        """An answer gave its slot back."""
        if self._last is not None:
            interval = max(0.0, now - self._last)
            mean = self._interval
            self._interval = interval if mean is None else mean + _WEIGHT * (interval - mean)
        self._last = now

    def wait_for(self, slots: int, now: float) -> float:
        """Seconds until so many slots will have become free, if all goes on as it did; bounded.

        The present pause counts, too: a model whose answers have become long is not told by those
        that have ended.
        """
        if self._interval is None or self._last is None:
            return UNKNOWN_SECONDS
        interval = max(self._interval, now - self._last)
        return min(MOST_SECONDS, max(LEAST_SECONDS, slots * interval))
