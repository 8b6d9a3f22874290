"""The feeds of one process: opened before anyone sits in a room, closed when nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from wsserver.core.ids import new_id
from wsserver.core.rooms.changes import Change
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.rooms.feed import Feed
from wsserver.stores.redis.rooms.format import Granted, granted_of, told_of
from wsserver.stores.redis.rooms.keys import channel
from wsserver.stores.redis.rooms.steps import RoomSteps
from wsserver.stores.redis.rooms.whereabouts import Whereabouts

log = logging.getLogger(__name__)


class Feeds:
    """Which rooms this process is told of.

    Before a feed is there the room's bells are heard; before anyone enters it is among this node's
    whereabouts, so that whoever clears up after the node looks there.

    Args:
        link: The Redis.
        steps: Runs scripts.
        whereabouts: Of this process.
        node: This process.
        tell: Told each change of each room.
    """

    def __init__(
        self,
        link: RedisLink,
        steps: RoomSteps,
        whereabouts: Whereabouts,
        node: str,
        tell: Callable[[str, Change], None],
    ) -> None:
        self._link = link
        self._steps = steps
        self._whereabouts = whereabouts
        self._node = node
        self._tell = tell
        self._feeds: dict[str, Feed] = {}
        self._leaves: dict[Feed, Callable[[], None]] = {}
        self._opening: dict[Feed, asyncio.Task[None]] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}

    def get(self, room_id: str) -> Feed | None:
        """The room's feed, if this process is told of it."""
        return self._feeds.get(room_id)

    async def enter(self, room_id: str) -> Feed:
        """The room's feed, opened if need be, with one more client about to enter.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        feed = self._feeds.get(room_id)
        if feed is None:
            feed = self._feeds[room_id] = self._make(room_id)
            self._opening[feed] = asyncio.get_running_loop().create_task(self._open(room_id, feed))
            self._opening[feed].add_done_callback(partial(self._opened, feed))
        feed.entering += 1
        opening = self._opening.get(feed)
        try:
            if opening is None:
                await self._whereabouts.enter(room_id)
            else:
                await asyncio.shield(opening)
        except BaseException:
            self.entered(room_id, feed)
            raise
        return feed

    def entered(self, room_id: str, feed: Feed) -> None:
        """A step of one that enters is over."""
        feed.entered()
        if not feed.is_needed:
            self._close(room_id, feed)

    async def close(self) -> None:
        """Hear nothing more, and leave the node's set as it is: its seats are still there."""
        feeds = list(self._feeds.values())
        self._feeds.clear()
        for feed in feeds:
            self._silence(feed)
        tasks = {*self._opening.values(), *self._closing.values()}
        if tasks:
            await asyncio.wait(tasks)

    def _make(self, room_id: str) -> Feed:
        feed = Feed(
            self._node,
            tell=partial(self._tell, room_id),
            since=partial(self._since, room_id),
            renew=partial(self._renew, room_id),
            idle=lambda: self._close(room_id, feed),
        )
        return feed

    async def _open(self, room_id: str, feed: Feed) -> None:
        closing = self._closing.get(room_id)
        if closing is not None:
            await asyncio.wait({closing})
        await self._whereabouts.enter(room_id)
        bells = self._link.bells
        self._leaves[feed] = await bells.subscribe(channel(room_id), feed.ring, feed.doubt)

    def _opened(self, feed: Feed, task: asyncio.Task[None]) -> None:
        del self._opening[feed]
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may

    def _close(self, room_id: str, feed: Feed) -> None:
        if self._feeds.get(room_id) is feed:
            del self._feeds[room_id]
            task = asyncio.get_running_loop().create_task(self._leave_set(room_id))
            self._closing[room_id] = task
            task.add_done_callback(lambda done: self._closed(room_id, done))
        self._silence(feed)

    def _silence(self, feed: Feed) -> None:
        feed.close()
        opening = self._opening.get(feed)
        if opening is not None:
            opening.cancel()
        leave = self._leaves.pop(feed, None)
        if leave is not None:
            leave()

    def _closed(self, room_id: str, task: asyncio.Task[None]) -> None:
        if self._closing.get(room_id) is task:
            del self._closing[room_id]

    async def _leave_set(self, room_id: str) -> None:
        try:
            await self._whereabouts.leave(room_id)
        except StoreUnavailable as error:
            log.info("a room stays in this node's set: %s", error)  # it may hold too much

    async def _since(self, room_id: str, place: int) -> tuple[Granted, bool] | None:
        reply = await self._steps.run("since", room_id, (place, 1))
        if reply[0] == b"none":
            return None
        granted = granted_of(reply)
        is_whole, items = granted.rest
        return granted._replace(news=[told_of(item) for item in items]), bool(is_whole)

    async def _renew(self, room_id: str, epoch: str) -> None:
        await self._steps.run("renew", room_id, (epoch, new_id("ep")))
