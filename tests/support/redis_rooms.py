"""Rooms on a real Redis, of several processes, with nothing left to be told when a call returns.

Other processes hear of a change by a bell, a moment later. Tests of what they are told wait for
that: each call of a `SettledBroker` returns when all processes have been told all that there is.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support.waiting import eventually
from wsserver.core.ids import new_id
from wsserver.core.rooms.bounds import RoomBounds
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.rooms import RedisPresence, RedisRoomBroker
from wsserver.stores.redis.rooms.keys import room_keys


class Fleet:
    """Processes that share the rooms of one Redis, each with a link of its own.

    Args:
        url: The Redis.
        clock: The time of day; None: Redis' own.
    """

    def __init__(self, url: str, clock: Callable[[], int] | None = None) -> None:
        self._url = url
        self._clock = clock
        self._stack = AsyncExitStack()
        self._asking = RedisLink.open(url)
        self._stack.push_async_callback(self._asking.close)
        self.brokers: list[RedisRoomBroker] = []
        self.links: list[RedisLink] = []
        self.living: set[str] = set()

    def broker(self, bounds: RoomBounds | None = None) -> RedisRoomBroker:
        """Another process' broker."""
        link = RedisLink.open(self._url)
        broker = RedisRoomBroker(link, new_id("nod"), bounds or RoomBounds(), self._clock)
        self._stack.push_async_callback(link.close)
        self._stack.push_async_callback(broker.close)
        self.brokers.append(broker)
        self.links.append(link)
        return broker

    def presence(self, broker: RedisRoomBroker, grace: float) -> RedisPresence:
        """The leases of a process."""
        link = self.links[self.brokers.index(broker)]
        return RedisPresence(link, broker, grace, self._are_living)

    async def settle(self) -> None:
        """Wait until every process has been told everything."""
        for broker, link in zip(self.brokers, self.links, strict=True):
            await eventually(lambda link=link: not link._errands)  # type: ignore[misc]  # bound early
            for room_id in list(broker._feeds._feeds):
                changes = await self._asking.command("HGET", room_keys(room_id)[0], "chg")
                place = int(changes or 0)
                await eventually(lambda b=broker, r=room_id, p=place: _has_heard(b, r, p))  # type: ignore[misc]  # bound early

    async def close(self) -> None:
        """End all processes."""
        await self._stack.aclose()

    async def _are_living(self, stream_ids: Sequence[str]) -> set[str]:
        return self.living & set(stream_ids)


class SettledBroker:
    """A broker each of whose calls returns when all processes of the fleet know of it."""

    def __init__(self, broker: RedisRoomBroker, fleet: Fleet) -> None:
        self.inner = broker
        self._fleet = fleet

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def settled(*args: Any, **named: Any) -> Any:
            try:
                return await found(*args, **named)
            finally:
                await self._fleet.settle()

        return settled


@asynccontextmanager
async def redis_rooms(url: str, clock: Callable[[], int] | None = None) -> AsyncIterator[Fleet]:
    """A fleet for the length of the block."""
    fleet = Fleet(url, clock)
    try:
        yield fleet
    finally:
        await fleet.close()


def _has_heard(broker: RedisRoomBroker, room_id: str, place: int) -> bool:
    feed = broker._feeds.get(room_id)
    return feed is None or (feed.place is not None and feed.place >= place)
