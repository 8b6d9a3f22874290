"""One after another, each to its end: a client's work on rooms.

What a client asks for of its rooms takes effect in the order in which it asked, also where a store
has to be waited for. It is done to its end whether or not the connection that asked is still
there: half a join would leave a seat that nobody sits in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


class Lane:
    """Runs pieces of work in the order in which they came."""

    def __init__(self) -> None:
        self._last: asyncio.Task[object] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, so that work without waiting may be done at once."""
        return self._last is None

    def begin(self, work: Callable[[], Awaitable[Result]]) -> asyncio.Task[Result]:
        """Take the next place for ``work``. The task need not be awaited."""
        before = self._last

        async def in_order() -> Result:
            if before is not None and not before.done():
                await asyncio.wait({before})
            return await work()

        task = asyncio.get_running_loop().create_task(in_order())
        self._last = task
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Result]) -> None:
        if not task.cancelled():
            task.exception()  # whoever awaits it is told; nobody may be there any more
        if self._last is task:
            self._last = None
