"""What says that a process lives and where it may have seats: how they are found should it die.

Its lease is kept with those of all others, and its rooms in a set of its own. Both are said before
each entry, also where they were said long ago: a Redis that has lost everything takes a seat as
gladly as before, and a process killed before its next beat would leave one that nobody ever finds.
All who enter in the same turn of the event loop share one word, so that this costs an entry one
trip, and a thousand that come back at once no more than one does.
"""

from __future__ import annotations

import asyncio
import logging

from wsserver.core.errands import Errands
from wsserver.core.rooms.presence import LEASE
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.rooms.keys import LEASES, node_key
from wsserver.stores.redis.rooms.steps import RoomSteps

log = logging.getLogger(__name__)

REFRESH_SECONDS = 3600.0
"""Between two times that all rooms are said: what says so ends by itself."""

SET_MS = 7 * 86_400_000
"""For a node's set of rooms, should nobody ever clear it."""


class Whereabouts:
    """Keeps a process and its rooms findable. All of it raises `StoreUnavailable`.

    Args:
        link: The Redis.
        steps: Knows the time of day.
        node: This process.
    """

    def __init__(self, link: RedisLink, steps: RoomSteps, node: str) -> None:
        self._link = link
        self._steps = steps
        self._node = node
        self._rooms: set[str] = set()
        self._unsaid: set[str] = set()
        self._saying: asyncio.Task[None] | None = None
        self._refresh_at = 0.0
        self._has_resigned = False
        self._errands = Errands("it could not be said where a process has seats")

    def doubt(self) -> None:
        """Redis may not know any more what it was told: all is said again, now if it can be."""
        self._refresh_at = 0.0
        if not self._errands:
            self._errands.begin(self._say_again())

    async def enter(self, room_id: str) -> None:
        """Somebody is about to take a seat in a room."""
        self._rooms.add(room_id)
        self._unsaid.add(room_id)
        if self._saying is None:
            self._saying = asyncio.get_running_loop().create_task(self._say_unsaid())
            self._saying.add_done_callback(_seen)
        await asyncio.shield(self._saying)  # others wait for it, too

    async def leave(self, room_id: str) -> None:
        """Nobody sits in a room any more, and nobody is about to."""
        self._rooms.discard(room_id)
        await self._link.command("SREM", node_key(self._node), room_id)

    async def renew(self) -> None:
        """This process lives, for another `LEASE` seconds."""
        now = asyncio.get_running_loop().time()
        if now < self._refresh_at:
            await self._lease(LEASE)
            return
        self._refresh_at = now + REFRESH_SECONDS  # a doubt from now on has it done once more
        try:
            await self._say(list(self._rooms))
        except BaseException:
            self._refresh_at = 0.0
            raise

    async def resign(self) -> None:
        """This process ends: its lease is over, and nothing renews it."""
        self._has_resigned = True
        await self._lease(0.0)

    def close(self) -> None:
        """Say nothing more."""
        self._errands.cancel()

    async def _say_again(self) -> None:
        try:
            await self.renew()
        except StoreUnavailable as error:
            log.info("where this process has seats is said at the next beat: %s", error)

    async def _say_unsaid(self) -> None:
        rooms, self._unsaid, self._saying = list(self._unsaid), set(), None
        await self._say(rooms)

    async def _say(self, rooms: list[str]) -> None:
        words = [] if self._has_resigned else [self._lease(LEASE)]
        if rooms:
            words.append(self._put(rooms))
        await asyncio.gather(*words)

    async def _put(self, rooms: list[str]) -> None:
        key = node_key(self._node)
        await asyncio.gather(
            self._link.command("SADD", key, *rooms), self._link.command("PEXPIRE", key, SET_MS)
        )

    async def _lease(self, seconds: float) -> None:
        args = (self._node, self._steps.now, round(seconds * 1000))
        if not await self._link.call("room_leases/renew", LEASES, args):
            log.warning("this process was believed dead for a while: its seats may be gone")
            # Whoever clears up after it may still be at it, and strike a room that it is in.
            self._refresh_at = 0.0


def _seen(task: asyncio.Task[None]) -> None:
    """A failure is told to whoever waits; nobody may."""
    if not task.cancelled():
        task.exception()
