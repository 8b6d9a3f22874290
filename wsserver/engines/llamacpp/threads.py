"""Signs of life of llama.cpp's threads, which compute in C++ and may be silent for long.

Decides whether work advances; knows no answer. The rule: computing is a sign as good as a call.
"""

from __future__ import annotations

import time
from typing import Final

# Of a core, since the last look: llama.cpp computes, even if it has nothing to show yet.
_BUSY_SHARE: Final = 0.1


class Pulse:
    """Signs of life of threads that compute in C++."""

    def __init__(self) -> None:
        self._beats = 0
        self._seen_beats = 0
        self._seen_at = time.monotonic()
        self._seen_cpu = time.process_time()

    def beat(self) -> None:
        """llama.cpp called back. Any thread."""
        self._beats += 1

    def was_felt(self) -> bool:
        """Whether it called back since the last look, or the process has computed.

        The latter is for a long prompt batch on a slow machine, which may take minutes without a
        call.
        """
        beats, now, cpu = self._beats, time.monotonic(), time.process_time()
        is_busy = cpu - self._seen_cpu > _BUSY_SHARE * (now - self._seen_at)
        has_called = beats != self._seen_beats
        self._seen_beats, self._seen_at, self._seen_cpu = beats, now, cpu
        return has_called or is_busy
