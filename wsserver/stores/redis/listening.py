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
        self._end: Callable[[], None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._listen(bells, channel, every))

    def close(self) -> None:
        """Listen no more. Idempotent."""
        self._task.cancel()
        if self._end is not None:
            self._end()
            self._end = None

    async def _listen(self, bells: Bells, channel: str, every: float) -> None:
        while self._end is None:
            try:
                self._end = await bells.subscribe(channel, self._on_bell, self._ring)
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        while True:
            self._ring()
            await asyncio.sleep(every)

    def _on_bell(self, _: bytes) -> None:
        self._ring()
