"""A subscriber's connection to one host of Redis, over redis-py's subscriptions.

The library would connect anew by itself and subscribe again without a word, and bells that rang
meanwhile would be lost unnoticed. So it never gets to: a line lives as long as its connection, and
whoever holds it is told once that it has ended. Subscriptions are confirmed in the order of asking,
which tells those that stand from those that have been ended since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from redis.asyncio import Redis

from wsserver.stores.redis.hosts import CONNECT_SECONDS
from wsserver.stores.redis.lane import FAULTS, Lost

_MESSAGES = ("message", "smessage")
_ENDED = ("unsubscribe", "sunsubscribe")


class Hearer(Protocol):
    """Who is told what comes. None of it may raise."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """A bell rang."""

    def confirmed(self, line: BellLine, channel: bytes) -> None:
        """Every later bell of the channel will be heard."""

    def lost(self, line: BellLine, reason: str) -> None:
        """The line has ended, and with it all subscriptions."""


class BellLine:
    """Open it before anything else.

    Args:
        redis: A client of its own, closed with the line.
        host: The name of the host that it is at.
        probe: A channel that lies there, for finding out whether bells come.
        is_sharded: Whether channels are those of one host of a cluster.
        hearer: Who is told.

    Attributes:
        probed: Set whenever the probe rang.
        life: Done when it has ended; there once it is open.
    """

    life: asyncio.Task[None]

    def __init__(
        self, redis: Redis, host: str, probe: str, hearer: Hearer, *, is_sharded: bool
    ) -> None:
        self.host = host
        self.probe = probe
        self.probed = asyncio.Event()
        self._redis = redis
        self._pubsub = redis.pubsub()
        self._hearer = hearer
        self._is_sharded = is_sharded
        self._asked: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()
        self._leaving: Counter[bytes] = Counter()  # unsubscriptions under way

    async def open(self) -> None:
        """Connect, and listen at the probe.

        Raises:
            Lost: If it can't be done within `CONNECT_SECONDS`.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._subscribe(self.probe)
        except TimeoutError as error:
            await self._end()
            raise Lost("no connection for bells in time") from error
        except FAULTS as error:
            await self._end()
            raise Lost(str(error)) from error
        except BaseException:
            await self._end()
            raise
        self.life = asyncio.get_running_loop().create_task(self._live())

    def subscribe(self, channel: str) -> None:
        """Listen at a channel, too."""
        self._asked.put_nowait(partial(self._subscribe, channel))

    def leave(self, channel: str) -> None:
        """Listen no more at a channel. One that is asked for again is confirmed again."""
        self._leaving[channel.encode()] += 1
        self._asked.put_nowait(partial(self._unsubscribe, channel))

    async def close(self) -> None:
        """End it. Nothing is told any more."""
        self.life.cancel()
        await asyncio.wait({self.life})
        await self._end()  # one that was closed before it began to live

    # Each channel by a command of its own: those of one host may be of different slots.

    def _subscribe(self, channel: str) -> Awaitable[object]:
        pubsub = self._pubsub
        return pubsub.ssubscribe(channel) if self._is_sharded else pubsub.subscribe(channel)

    def _unsubscribe(self, channel: str) -> Awaitable[object]:
        pubsub = self._pubsub
        return pubsub.sunsubscribe(channel) if self._is_sharded else pubsub.unsubscribe(channel)

    async def _live(self) -> None:
        speaking = asyncio.get_running_loop().create_task(self._speak())
        try:
            while True:
                message = await self._pubsub.get_message(timeout=None)
                if message is not None:
                    self._take(message)
        except (Lost, *FAULTS) as error:
            self._hearer.lost(self, str(error))
        finally:
            speaking.cancel()
            await asyncio.wait({speaking})
            await self._end()

    async def _speak(self) -> None:
        with suppress(*FAULTS):  # a connection on which writing fails ends for who listens, too
            while True:
                await (await self._asked.get())()

    def _take(self, message: dict[str, Any]) -> None:
        kind, channel = message["type"], message["channel"]
        if kind in _MESSAGES:
            if channel == self.probe.encode():
                self.probed.set()
            else:
                self._hearer.heard(channel, message["data"])
        elif kind not in _ENDED:
            if channel not in self._leaving:
                self._hearer.confirmed(self, channel)
        elif channel not in self._leaving:
            raise Lost("a channel moves to another host")
        else:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]

    async def _end(self) -> None:
        with suppress(*FAULTS):  # what can't be closed in an orderly way is broken
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # the library is
            await self._redis.aclose()
