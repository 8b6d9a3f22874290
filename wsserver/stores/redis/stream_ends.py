"""Ends that were written lately: a Redis that has lost its last second is told them again.

An end that is lost has nobody who would miss it: its writer was told that it stands, and so were
all who looked. The answer would be one that runs for ever; or, if the claim on its job came back
with the lost second, another worker would go on with a text that was whole.
"""

from __future__ import annotations

import asyncio

from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.stream_writing import Writing

REMEMBERED = 10.0
"""Seconds for which an end is remembered: more than a Redis loses that writes every second to disk,
or whose replica takes over."""


class WrittenEnds:
    """Remembers what has ended here.

    Args:
        link: The way to Redis.
        retention: Milliseconds for which ended answers are kept.
    """

    def __init__(self, link: RedisLink, retention: int) -> None:
        self._link = link
        self._retention = retention
        self._lately: dict[Writing, asyncio.TimerHandle] = {}
        self._errands = Errands("an end could not be told again")
        link.on_up.append(self._look)

    def note(self, writing: Writing) -> None:
        """An answer's end has been written."""
        loop = asyncio.get_running_loop()
        self._lately[writing] = loop.call_later(REMEMBERED, self._drop, writing)

    def close(self) -> None:
        """Tell nothing again."""
        self._link.on_up.remove(self._look)
        self._errands.cancel()
        for timer in self._lately.values():
            timer.cancel()
        self._lately.clear()

    def _drop(self, writing: Writing) -> None:
        del self._lately[writing]
        if not self._link.is_up:  # it was remembered for what comes then
            self.note(writing)

    def _look(self) -> None:
        for writing in self._lately:
            self._errands.begin(self._tell_again(writing))

    async def _tell_again(self, writing: Writing) -> None:
        """Have the end be there, and what leads to it; unless another one has gone on since."""
        writer = writing.writer
        writer.reopen()
        try:
            while (operation := writer.next_operation()) is not None:
                reply = await self._link.call(*writing.call_for(operation, self._retention))
                if not isinstance(reply, int) and reply[0] in (b"gone", b"behind"):
                    operation = writer.rest
                    reply = await self._link.call(*writing.call_to_restore())
                writing.replied(operation, reply)
        except StoreUnavailable:
            return  # it will be back once more
