"""The list of all rooms: how many there are, what they are called, which are empty for how long.

It lies under one tag, apart from the rooms, so it follows them and may be behind. It is in nobody's
way but when a room is made or has become empty. What it has too much is struck by whoever looks
and finds no such room; what it has too little is written by the next who enters an empty room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.rooms.keys import INDEX

TRIES = 4
"""Times that a place is made for one room while others take it."""

OVERDUE_AT_ONCE = 100

Listed = tuple[str, str]
"""A room and its epoch."""


class RoomIndex:
    """The list. What is asked of it raises `StoreUnavailable`; what it is told may get lost.

    Args:
        link: The Redis.
        most: Rooms that there may be.
        evict: Ends a room if nobody is in it; returns whether there is none now.
    """

    def __init__(self, link: RedisLink, most: int, evict: Callable[[str], Awaitable[bool]]) -> None:
        self._link = link
        self._most = most
        self._evict = evict

    async def reserve(self, room_id: str, epoch: str) -> bool:
        """Take a place for a new room, an empty one's if need be. False if there is none."""
        for _ in range(TRIES):
            args = (room_id, epoch, self._most)
            has_place, found = await self._link.call("room_index/reserve", INDEX, args)
            if has_place:
                return True
            for other in _pairs(found):
                if await self._evict(other[0]):
                    self.drop([other])
                    break
            else:
                return False
        return False

    def note(self, room_id: str, epoch: str, emptied: int | str = "") -> None:
        """There is this room, empty since a time (ms; "now": Redis' own), or not empty."""
        self._link.tell("room_index/note", INDEX, (room_id, epoch, emptied))

    def drop(self, rooms: Sequence[Listed]) -> None:
        """Strike rooms that are no more, unless others are called so now."""
        if rooms:
            args = [part for room in rooms for part in room]
            self._link.tell("room_index/drop", INDEX, args)

    async def page(self, cursor: str | None, count: int) -> list[Listed]:
        """Rooms after a cursor, by name."""
        return _pairs(await self._link.call("room_index/page", INDEX, (cursor or "", count)))

    async def overdue(self, now: int | str, keep: int) -> list[Listed]:
        """Rooms that have been empty for longer than ``keep`` (ms); the list goes on to last."""
        args = (now, keep, OVERDUE_AT_ONCE)
        return _pairs(await self._link.call("room_index/overdue", INDEX, args))


def _pairs(flat: list[bytes]) -> list[Listed]:
    names = [part.decode() for part in flat]
    return list(zip(names[::2], names[1::2], strict=True))
