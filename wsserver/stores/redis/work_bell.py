"""The bell of one model's work, for all runners of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.listening import Listening
from wsserver.stores.redis.queue_keys import queue_bell

WATCH_SECONDS = 2.0
"""After which a free slot asks for work anyway: a bell may have been lost."""


class WorkBell:
    """Who is to be told of one model's work in this process."""

    def __init__(self, link: RedisLink, model_id: str) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        channel = f"{queue_bell(model_id)}:work"
        self._listening = Listening(link.bells, channel, self.ring, every=WATCH_SECONDS)

    def ring(self) -> None:
        for listener in self.listeners:
            listener()

    def ring_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.ring)

    def close(self) -> None:
        self._listening.close()
        if self._timer is not None:
            self._timer.cancel()
