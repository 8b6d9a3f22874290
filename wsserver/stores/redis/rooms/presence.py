"""Leases on seats over all processes: no ghosts, also when a process dies.

A lease lies with those of all others; what a node has is found by its set of rooms. Every process
looks for nodes that are long dead, and takes their seats away: twice does no harm, since a seat can
be taken away only once. A node whose rooms have been gone through is forgotten.

A Redis that has lost what it was told last may have seats again that were given up, and asks that
were answered. Nobody would ever take those of a living process away: so each process looks through
its own when Redis is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from wsserver.core.rooms import refusals
from wsserver.core.rooms.presence import Lapsed
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.rooms.broker import RedisRoomBroker
from wsserver.stores.redis.rooms.keys import CHANNEL, LEASES, node_channel, node_key

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Rooms of a dead node that are looked at together."""

Living = Callable[[Sequence[str]], Awaitable[set[str]]]
"""Which of these streams there are, and have not ended. Raises StoreUnavailable."""


class RedisPresence:
    """Leases on the seats that were taken through this process's broker.

    Args:
        link: The Redis.
        broker: This process's.
        grace: Seconds for which a seat outlives its process.
        living: Tells which of the asks that a dead process leaves will still be answered.
    """

    def __init__(
        self, link: RedisLink, broker: RedisRoomBroker, grace: float, living: Living
    ) -> None:
        self._link = link
        self._broker = broker
        self._grace = grace
        self._living = living
        self._hears: set[str] = set()
        self._may_have_ghosts = False
        self._ended: set[tuple[str, str]] = set()  # asks of rooms, as of the last look

    def _doubt(self) -> None:
        self._may_have_ghosts = True
        self._broker.whereabouts.doubt()

    async def renew(self) -> None:
        try:
            await self._broker.whereabouts.renew()
            await self._hear()
        except StoreUnavailable:
            raise refusals.store_away() from None

    async def _hear(self) -> None:
        """Be told when a line for bells had to be made anew: with it Redis may have been."""
        for channel in {CHANNEL, node_channel(self._broker.node)} - self._hears:
            await self._link.bells.subscribe(channel, lambda data: None, self._doubt)
            self._hears.add(channel)

    async def lapsed(self) -> list[Lapsed]:
        try:
            return await self._lapsed()
        except StoreUnavailable:
            raise refusals.store_away() from None

    async def resign(self) -> None:
        try:
            await self._broker.whereabouts.resign()
        except StoreUnavailable:
            raise refusals.store_away() from None

    async def _lapsed(self) -> list[Lapsed]:
        args = (self._broker.now, round(self._grace * 1000))
        found: list[Lapsed] = []
        for node in await self._link.call("room_leases/lapsed", LEASES, args):
            left = await self._left_by(node.decode())
            if not left:
                await self._link.call("room_leases/bury", LEASES, (node, self._broker.now))
            found += left
        if self._may_have_ghosts:
            found += await self._ghosts()
        return found

    async def _ghosts(self) -> list[Lapsed]:
        """Seats of this process in which nobody sits, as far as is known here."""
        node, found = self._broker.node, list[Lapsed]()
        are_entering = False
        asked: list[tuple[str, str]] = []
        for room in await self._rooms_of(node):
            seats, streams = await self._broker.held(room, node)
            asked += [(room, stream) for stream in streams]
            sitting = self._broker.sitting(room)
            if sitting is None:
                are_entering = True  # someone may be among those who sit there
            else:
                found += [seat for seat in seats if seat.client_id not in sitting]
        has_ended = await self._close(asked)
        self._may_have_ghosts = bool(found) or are_entering or has_ended  # until a look finds none
        return found

    async def _close(self, asked: list[tuple[str, str]]) -> bool:
        """Close asks of this process that nobody will answer. Whether there are any.

        Whoever ends an answer logs it first; or, where Redis was away then, soon. So they count
        from the second look on.
        """
        living = await self._living([stream for _, stream in asked]) if asked else set()
        ended = {ask for ask in asked if ask[1] not in living}
        for room, stream_id in ended & self._ended:
            await self._broker.withdraw(room, stream_id)
        self._ended = ended
        return bool(ended)

    async def _rooms_of(self, node: str) -> list[str]:
        return [room.decode() for room in await self._link.command("SMEMBERS", node_key(node))]

    async def _left_by(self, node: str) -> list[Lapsed]:
        """The seats that a dead node still has. Its asks that nobody will answer are closed."""
        rooms = await self._rooms_of(node)
        found: list[Lapsed] = []
        for start in range(0, len(rooms), AT_ONCE):
            some = rooms[start : start + AT_ONCE]
            held = await asyncio.gather(*(self._broker.held(room, node) for room in some))
            streams = [stream for _, asks in held for stream in asks]
            living = await self._living(streams) if streams else set()
            gone: list[str] = []
            for room, (seats, asks) in zip(some, held, strict=True):
                for stream_id in set(asks) - living:
                    await self._broker.withdraw(room, stream_id)
                if not seats and not set(asks) & living:
                    gone.append(room)
                found += seats
            if gone:
                await self._link.command("SREM", node_key(node), *gone)
        return found
