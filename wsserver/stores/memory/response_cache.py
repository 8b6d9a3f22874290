"""Response cache of a single process: least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict

from wsserver.core.cache import CachedAnswer


class MemoryResponseCache:
    """Answers in memory.

    Args:
        entries: Most answers that are kept; 0 keeps none.
        size: Most bytes that they cost together.
        ttl: Seconds for which an answer is good.
    """

    def __init__(self, *, entries: int, size: int, ttl: float) -> None:
        self._most_entries, self._most_bytes, self._ttl = entries, size, ttl
        self._answers: OrderedDict[bytes, tuple[float, CachedAnswer]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes, now: float) -> CachedAnswer | None:
        found = self._answers.get(key)
        if found is None:
            return None
        kept_at, answer = found
        if now - kept_at > self._ttl:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: CachedAnswer, now: float) -> None:
        if answer.size > self._most_bytes or not self._most_entries:
            return
        if key in self._answers:
            self._drop(key)
        self._answers[key] = (now, answer)
        self._bytes += answer.size
        while len(self._answers) > self._most_entries or self._bytes > self._most_bytes:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: bytes) -> None:
        _, answer = self._answers.pop(key)
        self._bytes -= answer.size
