"""How far a load has come, estimated, for engines that can't tell.

llama.cpp's binding holds the child's interpreter for the whole load and reports nothing. What its
parent can see is how much of the file the process has in memory: weights are mapped, and the load
and its warm-up touch them all. Where even that is not to be had, time passed stands for it. The
rule: an estimate never falls and never claims the end.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from wsserver.core.engine import LoadProgress

_MOST: Final = 0.99
# Without a better witness: a second to start, and a disk of 500 MB a second.
_START_SECONDS: Final = 1.0
_BYTES_PER_SECOND: Final = 500e6


class LoadEstimate:
    """Estimates of one load."""

    def __init__(
        self,
        size: int,
        resident: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``size``: bytes of the weights. ``resident``: bytes that the loading process holds."""
        self._size = size
        self._resident = resident
        self._clock = clock
        self._began = clock()
        self._base = resident()
        self._progress = 0.0

    @classmethod
    def of_process(cls, pid: int, path: str | None) -> Self:
        """Of a process that loads the file at ``path``. Reads files: not for the event loop."""
        try:
            size = os.stat(path).st_size if path else 0
        except OSError:
            size = 0  # the engine will say what is wrong with it
        return cls(size, lambda: resident_bytes(pid))

    def now(self) -> LoadProgress:
        """The estimate of this moment."""
        resident = self._resident()
        is_seen = self._size > 0 and self._base is not None and resident is not None
        if self._size and self._base is not None and resident is not None:
            share = (resident - self._base) / self._size
        else:
            expected = _START_SECONDS + self._size / _BYTES_PER_SECOND
            share = 1 - math.exp(-(self._clock() - self._began) / expected)
        self._progress = max(self._progress, min(_MOST, share))
        return LoadProgress(
            "loading",
            self._progress,
            estimated=True,
            bytes_done=round(self._progress * self._size) if is_seen else None,
            bytes_total=self._size or None,
        )


def resident_bytes(pid: int) -> int | None:
    """Memory that a process holds now, mapped files included; None if it can't be told."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
