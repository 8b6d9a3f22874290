"""Errands: tasks that somebody begins and nobody awaits.

The event loop holds its tasks weakly, and what one of them raises is told to nobody. So whoever
begins one keeps it here until it has ended, and says beforehand what it means if it fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Errands:
    """Tasks under way, each kept until it has ended.

    What one of them raises goes to the loop's exception handler at once, which logs it as an error
    with its trace: whoever begins an errand has it deal with what may happen to it, so that this is
    a fault in the code. One that is cancelled is not told.

    Args:
        failure: What a failure means, as a sentence: "a client's place could not be kept".
    """

    def __init__(self, failure: str) -> None:
        self._failure = failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Have something done. The task may be awaited, and need not be."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def cancel(self) -> None:
        """Cancel what is under way. It has not ended before `ended` says so."""
        for task in self._tasks:
            task.cancel()

    async def ended(self, within: float | None = None) -> bool:
        """Wait until nothing is under way, of what is begun meanwhile as well.

        Args:
            within: Seconds to wait at most; None: for as long as it takes.

        Returns:
            Whether nothing is under way.
        """
        try:
            async with asyncio.timeout(within):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            pass
        return not self._tasks

    def _reap(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            context = {"message": self._failure, "exception": fault}
            task.get_loop().call_exception_handler(context)
