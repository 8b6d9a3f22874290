"""A bell that is listened to from the moment of asking until it is closed, whatever Redis does.

Bells may get lost. So ``ring`` is called besides when the subscription stands, after every doubt
about it, and every few seconds: what it does must be cheap when there is nothing new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.bells import Bells

RETRY_SECONDS = 1.0
"""Between two attempts to subscribe while Redis is away."""

T = TypeVar("T")


async def hear_and_ask(
    subscribing: Coroutine[Any, Any, Callable[[], None]], asking: Coroutine[Any, Any, T]
) -> tuple[Callable[[], None], T]:
    """Subscribe and ask side by side: they go by two connections, and each waits for its reply.

    What rings between the step and the subscription is not heard.

    Returns:
        What ends the subscription, and the reply. If either fails nothing is subscribed.

    Raises:
        StoreUnavailable: As the two do.
    """
    hearing = asyncio.get_running_loop().create_task(subscribing)
    try:
        reply = await asking
        return await hearing, reply
    except BaseException:
        hearing.cancel()
        hearing.add_done_callback(_unsubscribe)
        raise


def _unsubscribe(hearing: asyncio.Task[Callable[[], None]]) -> None:
    if not hearing.cancelled() and hearing.exception() is None:
        hearing.result()()


class Hearing:
    """Subscribes to a channel and keeps nobody waiting: when Redis is away, as soon as it can.

    Args:
        bells: Where bells come from.
        channel: Which one.
        hear: Called with each bell.
        stands: Called once every later bell will be heard.
        doubt: Called when bells may have been lost since. None of these may raise.
    """

    def __init__(
        self,
        bells: Bells,
        channel: str,
        hear: Callable[[bytes], None],
        *,
        stands: Callable[[], object],
        doubt: Callable[[], None],
    ) -> None:
        self._end: Callable[[], None] | None = None
        subscribing = self._subscribe(bells, channel, hear, doubt, stands)
        self._task = asyncio.get_running_loop().create_task(subscribing)

    def close(self) -> None:
        """Hear no more. Idempotent."""
        self._task.cancel()
        if self._end is not None:
            self._end()
            self._end = None

    async def _subscribe(
        self,
        bells: Bells,
        channel: str,
        hear: Callable[[bytes], None],
        doubt: Callable[[], None],
        stands: Callable[[], object],
    ) -> None:
        while self._end is None:
            try:
                self._end = await bells.subscribe(channel, hear, doubt)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        stands()


class Listening:
    """Listens to a channel.

    Args:
        bells: Where bells come from.
        channel: Which bell.
        ring: Called for each bell, and whenever one may have been missed. Must not raise.
        every: Seconds after which one may have been missed.
    """

    def __init__(
        self, bells: Bells, channel: str, ring: Callable[[], None], *, every: float
    ) -> None:
        self._ring = ring
        self._every = every
        self._timer: asyncio.TimerHandle | None = None
        self._hearing = Hearing(bells, channel, self._hear, stands=self._again, doubt=ring)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        self._hearing.close()
        if self._timer is not None:
            self._timer.cancel()

    def _hear(self, _: bytes) -> None:
        self._ring()

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._again)
        self._ring()
