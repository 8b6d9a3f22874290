"""Steps that were done lately: a Redis that has lost its last second is told them again.

Most of what is lost is said again by whoever goes on from there. A last step has nobody who would
miss it: who did it was told that it stands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver_protocol.errors import WireError

REMEMBERED = 10.0
"""Seconds for which a step is remembered: more than a Redis loses that writes every second to disk,
or whose replica takes over."""

log = logging.getLogger(__name__)

Step = TypeVar("Step", bound=Hashable)


class Lately(Generic[Step]):
    """Remembers steps, and has them done again when Redis is back.

    Args:
        link: The way to Redis.
        again: Does one again, to no effect where it stands. May raise `StoreUnavailable` or
            `WireError`: Redis has gone once more, and will be back.
    """

    def __init__(
        self, link: RedisLink, again: Callable[[Step], Coroutine[None, None, None]]
    ) -> None:
        self._link = link
        self._again = again
        self._steps: dict[Step, asyncio.TimerHandle] = {}
        self._errands = Errands("a step could not be done again")
        link.on_up.append(self._look)

    def note(self, step: Step) -> None:
        """A step has been done."""
        before = self._steps.pop(step, None)
        if before is not None:
            before.cancel()
        loop = asyncio.get_running_loop()
        self._steps[step] = loop.call_later(REMEMBERED, self._drop, step)

    def close(self) -> None:
        """Do nothing again."""
        self._link.on_up.remove(self._look)
        self._errands.cancel()
        for timer in self._steps.values():
            timer.cancel()
        self._steps.clear()

    def _drop(self, step: Step) -> None:
        del self._steps[step]
        if not self._link.is_up:  # it was remembered for what comes then
            self.note(step)

    def _look(self) -> None:
        for step in self._steps:
            self._errands.begin(self._do_again(step))

    async def _do_again(self, step: Step) -> None:
        try:
            await self._again(step)
        except (StoreUnavailable, WireError) as error:
            log.info("what Redis may have lost waits for its return: %s", error)
