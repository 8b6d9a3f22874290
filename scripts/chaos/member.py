"""A member of the fleet that can be asked what it is doing: ``python -m scripts.chaos.member``.

It is `wsserver.cli.member`, and on SIGUSR1 it says which tasks its event loop has: one line on
standard output, ``Tasks {json}``, with how many there are of each chain of awaits. A leaked task is
found by its name so, and one that waits for ever by what it waits for.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from types import FrameType
from typing import Any

from wsserver.cli.member import main

AWAITED = " > "
"""Between a coroutine and what it awaits."""

WORD = "Tasks "


def _tell_tasks(number: int, frame: FrameType | None) -> None:
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # it does not run yet, or not any more
        tasks = set()
    chains = Counter(_chain(task.get_coro()) for task in tasks)
    sys.stdout.write(WORD + json.dumps(chains) + "\n")
    sys.stdout.flush()


def _chain(awaited: Any) -> str:
    names: list[str] = []
    while awaited is not None and len(names) < 12:
        names.append(getattr(awaited, "__qualname__", type(awaited).__name__))
        awaited = getattr(awaited, "cr_await", None)
    return AWAITED.join(names)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell_tasks)
    sys.exit(main(sys.argv[1]))
