"""A room's answers as a process finds them: some are made elsewhere, and not known here yet.

A room tells of an ask before its answer can be found everywhere, so who needs one that is not here
looks for it, and again, for as long as it is wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wsserver.core.ask import Answer
from wsserver_protocol.errors import WireError
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.05, 1.0
"""Seconds between looks, doubling from first to last."""

LOOKS = 12
"""Looks for an answer, some eight seconds, after which it is taken to be gone."""


class RoomAnswers:
    """Finds and stops the answers that rooms ask for.

    Args:
        find: The answer of a stream, running or retained; None if nobody here knows it.
        stop: Stops an answer.
        fetch: The answer, also of another process; None where there are no others.
    """

    def __init__(
        self,
        *,
        find: Callable[[str], Answer | None],
        stop: Callable[[Answer, StopReason, str], object],
        fetch: Callable[[str], Awaitable[Answer | None]] | None = None,
    ) -> None:
        self.find = find
        self._stop = stop
        self._fetch = fetch
        self._tasks: set[asyncio.Task[None]] = set()

    def when_found(
        self, stream_id: str, act: Callable[[Answer], object], *, while_: Callable[[], bool]
    ) -> None:
        """Act on an answer: now if it is known here, else once it is, while it is wanted."""
        answer = self.find(stream_id)
        if answer is not None:
            act(answer)
        elif self._fetch is not None:
            work = self._look(stream_id, self._fetch, act, while_)
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self, stream_id: str, reason: StopReason, by: str) -> None:
        """Stop an answer, wherever it is."""

        def end(answer: Answer) -> None:
            if not answer.record.is_ended:
                self._stop(answer, reason, by)

        self.when_found(stream_id, end, while_=lambda: True)

    async def _look(
        self,
        stream_id: str,
        fetch: Callable[[str], Awaitable[Answer | None]],
        act: Callable[[Answer], object],
        is_wanted: Callable[[], bool],
    ) -> None:
        pause = FIRST_LOOK
        for _ in range(LOOKS):
            if not is_wanted():
                return
            answer = await _or_none(fetch(stream_id))
            if answer is not None:
                if is_wanted():
                    act(answer)
                return
            await asyncio.sleep(pause)  # nothing tells when it is there
            pause = min(2 * pause, LAST_LOOK)


async def _or_none(work: Awaitable[Answer | None]) -> Answer | None:
    try:
        return await work
    except WireError as error:
        log.warning("a room's answer could not be looked for: %s", error.message)
        return None
