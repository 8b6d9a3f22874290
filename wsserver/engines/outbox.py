"""Between an engine's threads and the child's loop: outputs, or what becomes them, one way.

Decides nothing about answers. The rule: a thread never waits here for the loop, and the loop never
for a thread.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """Outputs on their way from threads to the loop, with a file that tells of them."""

    def __init__(self) -> None:
        self._outputs: deque[Item] = deque()
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

    def put(self, output: Item) -> None:
        """Any thread."""
        with self._lock:
            self._outputs.append(output)
            if not self._is_signalled:
                self._is_signalled = True
                self._writer.send(b"!")

    def take(self) -> list[Item]:
        """All that was put, in order; the loop's thread only."""
        with self._lock:
            outputs = list(self._outputs)
            self._outputs.clear()
            if self._is_signalled:
                self._is_signalled = False
                self._reader.recv(1)
        return outputs
