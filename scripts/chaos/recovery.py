"""How long a death is felt: until the last of those who were reading has more text."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any


class Recoveries:
    """Measures each death by the answers that were being read when it happened.

    Other faults go on meanwhile, so these are times in a storm, not those of a death alone. Who
    leaves by himself is not waited for.
    """

    def __init__(self) -> None:
        self._open: list[_Recovery] = []
        self.times: dict[str, list[float]] = defaultdict(list)

    def begin(self, kind: str, readers: set[tuple[Any, str]]) -> None:
        """A death, and who reads what just now."""
        if readers:
            self._open.append(_Recovery(kind, time.monotonic(), readers))

    def progress(self, reader: Any, stream_id: str) -> None:
        """A reader has got more of an answer."""
        self._drop({(reader, stream_id)}, has_recovered=True)

    def forget(self, reader: Any) -> None:
        """A reader has left by himself."""
        mine = {pair for each in self._open for pair in each.readers if pair[0] is reader}
        self._drop(mine, has_recovered=False)

    def _drop(self, pairs: set[tuple[Any, str]], *, has_recovered: bool) -> None:
        if not self._open or not pairs:
            return
        now = time.monotonic()
        for each in self._open:
            if each.readers & pairs:
                each.readers -= pairs
                if has_recovered:
                    each.latest = now - each.begun
        for each in [each for each in self._open if not each.readers]:
            self._open.remove(each)
            if each.latest:
                self.times[each.kind].append(each.latest)

    def summary(self) -> dict[str, dict[str, float]]:
        """Seconds by kind of death."""
        return {
            kind: {
                "deaths": len(times),
                "p50_s": round(sorted(times)[len(times) // 2], 2),
                "max_s": round(max(times), 2),
            }
            for kind, times in sorted(self.times.items())
        }


class _Recovery:
    def __init__(self, kind: str, begun: float, readers: set[tuple[Any, str]]) -> None:
        self.kind = kind
        self.begun = begun
        self.readers = readers
        self.latest = 0.0
