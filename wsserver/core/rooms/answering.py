"""A room's answers as a process finds them: some are made elsewhere, and not known here yet.

The store has an answer before the room has its ask. So who needs one that is not here looks for it,
again while the store is away, and finds it: unless the store has lost it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from wsserver.core.ask import Answer
from wsserver.core.errands import Errands
from wsserver_protocol.errors import WireError
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)

FIRST_LOOK, LAST_LOOK = 0.05, 1.0
"""Seconds between looks, doubling from first to last."""

LOOKS = 12
"""Looks for an answer that is not there, some eight seconds, until it is taken to be lost."""


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
        self.is_shared = fetch is not None
        self._errands = Errands("a room's answer could not be looked for")

    def when_found(
        self,
        stream_id: str,
        act: Callable[[Answer], object],
        *,
        while_: Callable[[], bool],
        missed: Callable[[], object] = lambda: None,
    ) -> None:
        """Act on an answer: now if it is known here, else once it is.

        Args:
            stream_id: Whose.
            act: What to do.
            while_: Whether it is still wanted.
            missed: Called if it is still wanted, and the store does not have it.
        """
        answer = self.find(stream_id)
        if answer is not None:
            act(answer)
        elif self._fetch is not None:
            self._errands.begin(self._look(stream_id, self._fetch, act, while_, missed))

    async def look_for(self, stream_ids: Iterable[str]) -> None:
        """Have answers of other processes be known here, as far as the store has them now."""
        if self._fetch is not None:
            wanted = [self._fetch(s) for s in stream_ids if self.find(s) is None]
            await asyncio.gather(*wanted, return_exceptions=True)

    def stop(self, stream_id: str, reason: StopReason, by: str) -> None:
        """Stop an answer, wherever it is."""

        def end(answer: Answer) -> None:
            if not answer.record.is_ended:
                self._stop(answer, reason, by)

        self.when_found(stream_id, end, while_=lambda: True)

    def abandon(self, stream_id: str) -> None:
        """Stop an answer, wherever it is, that nobody is left for: unless it was asked for to be
        made to its end all the same."""

        def end(answer: Answer) -> None:
            is_wanted = answer.ask.options.on_disconnect == "detach"
            if not is_wanted and not answer.record.is_ended:
                self._stop(answer, StopReason.DISCONNECT, "server")

        self.when_found(stream_id, end, while_=lambda: True)

    async def _look(
        self,
        stream_id: str,
        fetch: Callable[[str], Awaitable[Answer | None]],
        act: Callable[[Answer], object],
        is_wanted: Callable[[], bool],
        missed: Callable[[], object],
    ) -> None:
        pause, looks = FIRST_LOOK, LOOKS
        while looks and is_wanted():
            try:
                answer = await fetch(stream_id)
            except WireError as error:  # the store is away, and will be back
                log.warning("a room's answer could not be looked for: %s", error.message)
            else:
                if answer is not None:
                    if is_wanted():
                        act(answer)
                    return
                looks -= 1
            await asyncio.sleep(pause)  # nothing tells when it is there
            pause = min(2 * pause, LAST_LOOK)
        if is_wanted():
            log.warning("the answer %s of a room is gone", stream_id)
            missed()
