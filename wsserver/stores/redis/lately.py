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
from wsserver_protocol.errors import ErrorCode, WireError

REMEMBERED = 10.0
"""Seconds for which a step is remembered: more than a Redis loses that writes every second to disk,
or whose replica takes over."""

RETRY_SECONDS = 0.5
"""Between two tries to do one again."""

log = logging.getLogger(__name__)

Step = TypeVar("Step", bound=Hashable)


class Lately(Generic[Step]):
    """Remembers steps, and has them done again when Redis is back.

    Args:
        link: The way to Redis.
        again: Does one again, to no effect where it stands. May raise `StoreUnavailable` or
            `WireError`: Redis is not there yet, or has gone once more, and will be back.
    """

    def __init__(
        self, link: RedisLink, again: Callable[[Step], Coroutine[None, None, None]]
    ) -> None:
        self._link = link
        self._again = again
        self._steps: dict[Step, asyncio.TimerHandle] = {}
        self._under_way: set[Step] = set()
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
        for step in self._steps.keys() - self._under_way:
            self._under_way.add(step)
            self._errands.begin(self._do_again(step))

    async def _do_again(self, step: Step) -> None:
        """Until it is done: a cluster whose hosts are all there again may yet be down for a while,
        and no other return is told then."""
        try:
            while True:
                try:
                    await self._again(step)
                    break
                except StoreUnavailable as error:
                    log.info("what Redis may have lost waits for its return: %s", error)
                except WireError as error:
                    if error.code is not ErrorCode.STORE_UNAVAILABLE:
                        log.warning("a step is not done again: %s", error.message)
                        break
                    log.info("what Redis may have lost waits for its return: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._under_way.discard(step)
