"""Between llama.cpp's threads and the child's loop: outputs one way, signs of life too.

Decides nothing about answers. The rule: a thread never waits here for the loop, and the loop never
for a thread.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import Final

from wsserver.engines.contract import EngineOutput

# Of a core, since the last look: llama.cpp computes, even if it has nothing to show yet.
_BUSY_SHARE: Final = 0.1


class Outbox:
    """Outputs on their way from threads to the loop, with a file that tells of them."""

    def __init__(self) -> None:
        self._outputs: deque[EngineOutput] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._is_signalled = False
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Readable when there is something to take."""
        return self._reader.fileno()

    def close(self) -> None:
        """Nothing may be put any more."""
        self._reader.close()
        self._writer.close()

    def put(self, output: EngineOutput) -> None:
        """Any thread."""
        with self._lock:
            self._outputs.append(output)
            if not self._is_signalled:
                self._is_signalled = True
                self._writer.send(b"!")

    def take(self) -> list[EngineOutput]:
        """All that was put, in order; the loop's thread only."""
        with self._lock:
            outputs = list(self._outputs)
            self._outputs.clear()
            if self._is_signalled:
                self._is_signalled = False
                self._reader.recv(1)
        return outputs


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
