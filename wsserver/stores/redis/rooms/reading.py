"""Looking at rooms: their logs, the list of them, what is past its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from wsserver.core.rooms import refusals
from wsserver.core.rooms.bounds import RoomBounds
from wsserver.core.rooms.log import REPLAY_BYTES, page
from wsserver.core.rooms.presence import Lapsed
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import Argument, RedisLink
from wsserver.stores.redis.rooms.format import entry_of
from wsserver.stores.redis.rooms.index import RoomIndex
from wsserver.stores.redis.rooms.steps import RoomSteps
from wsserver_protocol.events import RoomEntry, RoomSummary

LISTED_AT_ONCE = 100
"""Rooms that are looked at together for a list."""

NEWEST_AT_ONCE = 100
"""Entries that are read together for a context."""


class RoomReading:
    """What a broker does that changes nothing that anyone is told.

    Args:
        link: The Redis.
        steps: Runs scripts.
        bounds: What is kept.
    """

    def __init__(self, link: RedisLink, steps: RoomSteps, bounds: RoomBounds) -> None:
        self._steps = steps
        self._keep = round(bounds.keep_seconds * 1000)
        self._index = RoomIndex(link, bounds.rooms, self._evict)

    @property
    def now(self) -> int | str:
        """The time of day as scripts take it; empty: they look themselves."""
        return self._steps.now

    async def history(
        self, room_id: str, before: int | None, limit: int
    ) -> tuple[list[RoomEntry], bool]:
        args = ("" if before is None else before, limit + 1, REPLAY_BYTES)
        return page(await self._entries(room_id, args), before, limit)

    async def newest(self, room_id: str, size: int) -> list[RoomEntry]:
        found: list[RoomEntry] = []
        before: int | str = ""
        while True:
            some = await self._entries(room_id, (before, NEWEST_AT_ONCE, REPLAY_BYTES))
            for entry in reversed(some):
                size -= len(entry.text.encode())
                if size < 0:
                    return found[::-1]
                found.append(entry)
            if not some:
                return found[::-1]
            before = some[0].seq

    async def open_asks(self, room_id: str) -> list[str]:
        granted = await self._steps.step("asks", room_id)
        return [] if granted is None else [stream.decode() for stream in granted.rest[0]]

    async def _entries(self, room_id: str, args: Sequence[Argument]) -> list[RoomEntry]:
        granted = await self._steps.step("log", room_id, args)
        return [] if granted is None else [entry_of(item) for item in granted.rest[0]]

    async def rooms(
        self, user_key: str, cursor: str | None, limit: int
    ) -> tuple[list[RoomSummary], bool]:
        found: list[RoomSummary] = []
        try:
            while len(found) <= limit:
                listed = await self._index.page(cursor, LISTED_AT_ONCE)
                if not listed:
                    break
                found += await self._summaries(user_key, listed)
                cursor = listed[-1][0]
        except StoreUnavailable:
            raise refusals.store_away() from None
        return found[:limit], len(found) > limit

    async def _summaries(
        self, user_key: str, listed: Sequence[tuple[str, str]]
    ) -> list[RoomSummary]:
        """Those of some rooms that a user may see; what is no more is struck from the list."""
        seen = [self._steps.step("summary", room_id, (user_key,)) for room_id, _ in listed]
        replies = await asyncio.gather(*seen)
        found, gone = [], []
        for room, granted in zip(listed, replies, strict=True):
            if granted is None:
                gone.append(room)
                continue
            is_seen, title, participants = granted.rest
            if is_seen:
                name = msgspec.json.decode(title)
                found.append(RoomSummary(room_id=room[0], title=name, participants=participants))
        self._index.drop(gone)
        return found

    async def held(self, room_id: str, node: str) -> tuple[list[Lapsed], list[str]]:
        """A node's seats in a room, as if nobody held them, and the streams of its open asks.

        Raises:
            WireError: ``store_unavailable``.
        """
        granted = await self._steps.step("held", room_id, (node,))
        if granted is None:
            return [], []
        seats, streams = ([part.decode() for part in parts] for parts in granted.rest)
        held = zip(seats[::3], seats[1::3], seats[2::3], strict=True)
        return [Lapsed(room_id, user, client, int(takes)) for user, client, takes in held], streams

    async def sweep(self) -> None:
        try:
            for room_id, epoch in await self._index.overdue(self._steps.now, self._keep):
                if await self._evict(room_id):
                    self._index.drop([(room_id, epoch)])
                else:
                    self._index.note(room_id, epoch)
        except StoreUnavailable:
            raise refusals.store_away() from None

    async def _evict(self, room_id: str) -> bool:
        return bool(await self._steps.run("evict", room_id))
