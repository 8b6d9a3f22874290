"""A subscriber's connection to one host of Redis.

A line lives as long as its connection, and whoever holds it is told once that it has ended: a
connection that was made anew unasked would lose the bells between, unnoticed. Subscriptions are
confirmed in the order of asking, which tells those that stand from those that have been ended
since. What one read brings is heard in one go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection

from wsserver.stores.redis.hosts import CONNECT_SECONDS
from wsserver.stores.redis.lane import Lost
from wsserver.stores.redis.pipe import FAULTS, Pipe

_MESSAGES = (b"message", b"smessage")
_ENDED = (b"unsubscribe", b"sunsubscribe")


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
        connection: Of its own, not connected yet.
        host: The name of the host that it is at.
        probe: A channel that lies there, for finding out whether bells come.
        is_sharded: Whether channels are those of one host of a cluster.
        hearer: Who is told.

    Attributes:
        probed: Set whenever the probe rang.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        host: str,
        probe: str,
        hearer: Hearer,
        *,
        is_sharded: bool,
    ) -> None:
        self.host = host
        self.probe = probe
        self.probed = asyncio.Event()
        self._probe = probe.encode()
        self._pipe = Pipe(connection, self._take, self._lose)
        self._hearer = hearer
        # Each channel by a command of its own: those of one host may be of different slots.
        self._verbs = ("SSUBSCRIBE", "SUNSUBSCRIBE") if is_sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
        self._leaving: Counter[bytes] = Counter()  # unsubscriptions under way

    async def open(self) -> None:
        """Connect, and listen at the probe.

        Raises:
            Lost: If it can't be done within `CONNECT_SECONDS`.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._pipe.open()
        except TimeoutError as error:
            raise Lost("no connection for bells in time") from error
        except FAULTS as error:
            raise Lost(str(error)) from error
        self.subscribe(self.probe)

    def subscribe(self, channel: str) -> None:
        """Listen at a channel, too."""
        self._pipe.write([(self._verbs[0], channel)])

    def leave(self, channel: str) -> None:
        """Listen no more at a channel. One that is asked for again is confirmed again."""
        self._leaving[channel.encode()] += 1
        self._pipe.write([(self._verbs[1], channel)])

    def close(self) -> None:
        """End it. Nothing is told any more."""
        self._pipe.close()

    def _lose(self, reason: str) -> None:
        self._hearer.lost(self, reason)

    def _take(self, message: Any) -> None:
        if isinstance(message, Exception):  # a subscription was refused
            self._end(str(message))
            return
        kind, channel, data = message
        if kind in _MESSAGES:
            if channel == self._probe:
                self.probed.set()
            else:
                self._hearer.heard(channel, data)
        elif kind not in _ENDED:
            if channel not in self._leaving:
                self._hearer.confirmed(self, channel)
        elif channel not in self._leaving:
            self._end("a channel moves to another host")
        else:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]

    def _end(self, reason: str) -> None:
        self.close()
        self._lose(reason)
