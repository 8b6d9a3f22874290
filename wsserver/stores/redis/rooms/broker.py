"""Rooms over all processes that share a Redis: each step is one script, each change is told once.

What a step has changed comes with its reply, so this process tells it without waiting for a bell;
the others hear the bell. Which of both is first does not matter: a `Feed` puts them in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from wsserver.core.ask import Claim
from wsserver.core.ids import new_id, new_token
from wsserver.core.rooms import refusals
from wsserver.core.rooms.bounds import BANS_KEPT, INVITES_KEPT, RoomBounds
from wsserver.core.rooms.broker import Joined, Known, Listener, Opened, Position, Seat, Spoken
from wsserver.core.rooms.changes import Change, Draft, OpenAsk, Origin
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.lately import Lately
from wsserver.stores.redis.link import Argument, RedisLink
from wsserver.stores.redis.rooms.entering import entrance, joined
from wsserver.stores.redis.rooms.feed import Feed
from wsserver.stores.redis.rooms.feeds import Feeds
from wsserver.stores.redis.rooms.format import (
    Granted,
    Moved,
    blob_of,
    entry_of,
    origin_text,
    settings_pairs,
    state_text,
)
from wsserver.stores.redis.rooms.keys import said_key
from wsserver.stores.redis.rooms.reading import RoomReading
from wsserver.stores.redis.rooms.steps import Clock, RoomSteps
from wsserver.stores.redis.rooms.whereabouts import Whereabouts
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.events import RoomEntry
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings


class _Answered(NamedTuple):
    """An answer that was logged."""

    room_id: str
    stream_id: str
    entry: bytes


class RedisRoomBroker(RoomReading):
    """Rooms as one process sees them.

    Args:
        link: The Redis.
        node: This process: whose its seats are.
        bounds: What is kept, the same for all processes.
        clock: The time of day; None: Redis' own.
    """

    def __init__(
        self, link: RedisLink, node: str, bounds: RoomBounds, clock: Clock | None = None
    ) -> None:
        self.node = node
        self._repeat_ms = round(bounds.repeat_seconds * 1000)
        super().__init__(link, RoomSteps(link, bounds, clock), bounds)
        self._listener: Listener = _nobody
        self._answered = Lately(link, self._answer_again)
        self.whereabouts = Whereabouts(link, self._steps, node)
        self._feeds = Feeds(link, self._steps, self.whereabouts, node, self._tell)

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    # Coming and going --------------------------------------------------------------------------

    async def join(
        self,
        room_id: str,
        seat: Seat,
        *,
        state: dict[str, Any] | None = None,
        rename: bool = False,
        invite: str | None = None,
        position: Position | None = None,
        known: Known | None = None,
        returns: bool = False,
    ) -> Joined:
        before: list[Argument] = [
            *(seat.user_key, seat.user_id, seat.name, seat.client_id, self.node),
            *(state_text(state), int(rename), invite or ""),
        ]
        after = entrance(seat, position, known, returns=returns)
        while True:
            async with self._entering(room_id) as feed:
                granted = await self._join(room_id, before, after, feed.place)
                if feed.enter(granted, seat.client_id):
                    return joined(granted, position)

    @asynccontextmanager
    async def _entering(self, room_id: str) -> AsyncIterator[Feed]:
        try:
            feed = await self._feeds.enter(room_id)
        except StoreUnavailable:
            raise refusals.store_away() from None
        try:
            yield feed
        finally:
            self._feeds.entered(room_id, feed)

    async def _join(
        self,
        room_id: str,
        before: Sequence[Argument],
        after: Sequence[Argument],
        place: int | None,
    ) -> Granted:
        """A seat in a room that is there; or in a new one, for which the list has a place."""
        epoch = new_id("ep")
        granted = await self._steps.step("join", room_id, (*before, "", 0, *after), known=place)
        if granted is None:
            await self._reserve(room_id, epoch)
            args = (*before, epoch, 1, *after)
            granted = await self._steps.step("join", room_id, args, known=place)
        assert granted is not None
        if granted.rest[0]:  # it was empty
            self._index.note(room_id, granted.epoch)
        return granted

    async def leave(
        self, room_id: str, user_key: str, client_id: str, reason: str, takes: int | None = None
    ) -> list[str]:
        origin = origin_text(Origin(client_id))
        args = (user_key, client_id, reason, origin, "" if takes is None else takes)
        granted = await self._step("leave", room_id, args)
        if granted is None:
            return []
        orphans, became = granted.rest
        if became == b"gone":
            self._index.drop([(room_id, granted.epoch)])
        elif became == b"kept":
            self._index.note(room_id, granted.epoch, self._steps.now or "now")
        streams: list[str] = orphans.decode().split()
        return streams

    # Talking -----------------------------------------------------------------------------------

    async def say(
        self, room_id: str, draft: Draft, origin: Origin, claim: Claim | None = None
    ) -> Spoken:
        op = new_id("msg")
        args: list[Argument] = [origin.client_id, blob_of(op, draft), origin_text(origin)]
        keys: list[str] = []
        if claim is not None:
            args += (self._repeat_ms, claim.fingerprint)
            keys.append(said_key(room_id, claim.identity_key, claim.request_id))
        granted = await self._require("say", room_id, args, op=op, keys=keys)
        item, is_first = granted.rest
        return Spoken(entry_of(item), bool(is_first))

    async def ask(
        self,
        room_id: str,
        ask: OpenAsk,
        draft: Draft | None,
        origin: Origin,
        *,
        is_alone: bool = False,
        steers: bool = False,
    ) -> Opened:
        blob = b"" if draft is None else blob_of(new_id("msg"), draft)
        args: tuple[Argument, ...] = (
            *(origin.client_id, ask.stream_id, ask.model_id, blob),
            *(int(is_alone), int(steers), self.node, origin_text(origin)),
        )
        granted = await self._require("ask", room_id, args)
        seq, ahead = granted.rest
        return Opened(seq, tuple(stream.decode() for stream in ahead))

    async def answer(self, room_id: str, draft: Draft) -> RoomEntry | None:
        if draft.stream_id is None:
            return None
        args = (draft.stream_id, blob_of(new_id("msg"), draft))
        granted = await self._step("answer", room_id, (*args, ""))
        if granted is None:
            return None
        self._answered.note(_Answered(room_id, *args))
        return entry_of(granted.rest[0])

    async def _answer_again(self, answered: _Answered) -> None:
        """Redis may have lost an answer: its ask would stay open, and hold others up."""
        args = (answered.stream_id, answered.entry, new_id("ep"))
        await self._steps.step("answer", answered.room_id, args)

    async def withdraw(self, room_id: str, stream_id: str) -> None:
        await self._step("withdraw", room_id, (stream_id,))

    async def set_state(self, room_id: str, user_key: str, state: Any, origin: Origin) -> None:
        args = (user_key, origin.client_id, state_text(state), origin_text(origin))
        await self._require("set_state", room_id, args)

    # Running a room ----------------------------------------------------------------------------

    async def configure(self, room_id: str, changes: RoomSettings, by: str, origin: Origin) -> None:
        given = [part for pair in settings_pairs(changes) for part in pair]
        await self._require(
            "configure", room_id, (origin.client_id, by, origin_text(origin), *given)
        )

    async def set_role(
        self,
        room_id: str,
        user_key: str,
        user_id: str,
        role: Role,
        *,
        reach: Role,
        by: str,
        origin: Origin,
    ) -> None:
        args = (origin.client_id, user_key, user_id, role.value, reach.value, by)
        await self._require("set_role", room_id, (*args, origin_text(origin)))

    async def kick(self, room_id: str, user_key: str, *, reach: Role, origin: Origin) -> None:
        args = (origin.client_id, user_key, reach.value, origin_text(origin))
        await self._require("kick", room_id, args)

    async def ban(
        self, room_id: str, user_key: str, user_id: str, *, reach: Role, by: str, origin: Origin
    ) -> None:
        args = (origin.client_id, user_key, user_id, reach.value, by, origin_text(origin))
        await self._require("ban", room_id, (*args, BANS_KEPT))

    async def unban(
        self, room_id: str, user_key: str, user_id: str, *, by: str, origin: Origin
    ) -> None:
        args = (origin.client_id, user_key, user_id, by, origin_text(origin))
        await self._require("unban", room_id, args)

    async def invite(self, room_id: str, role: Role, seconds: float, origin: Origin) -> str:
        token = new_token()
        args = (origin.client_id, token, role.value, round(seconds * 1000), INVITES_KEPT)
        await self._require("invite", room_id, args)
        return token

    # What dead processes leave -----------------------------------------------------------------

    def sitting(self, room_id: str) -> frozenset[str] | None:
        """Clients of this process that sit in a room; None while someone is about to enter."""
        feed = self._feeds.get(room_id)
        if feed is None:
            return frozenset()
        return None if feed.entering else frozenset(feed.seats)

    async def close(self) -> None:
        """Hear nothing more. Seats stay until others take them away."""
        self._answered.close()
        self.whereabouts.close()
        await self._feeds.close()

    # Steps -------------------------------------------------------------------------------------

    async def _require(
        self,
        name: str,
        room_id: str,
        args: Sequence[Argument],
        *,
        op: str | None = None,
        keys: Sequence[str] = (),
    ) -> Granted:
        try:
            granted = await self._step(name, room_id, args, op=op, keys=keys)
        except WireError as error:
            if error.code is ErrorCode.NOT_IN_ROOM:
                self._doubt(room_id)
            raise
        if granted is None:
            self._doubt(room_id)
            raise refusals.not_in_room()
        return granted

    def _doubt(self, room_id: str) -> None:
        """The store says that someone is not there who is here: one of both has missed something,
        or the store has lost the room, and nothing else may tell of that for a while."""
        feed = self._feeds.get(room_id)
        if feed is not None:
            feed.doubt()

    async def _step(
        self,
        name: str,
        room_id: str,
        args: Sequence[Argument],
        *,
        op: str | None = None,
        keys: Sequence[str] = (),
    ) -> Granted | None:
        """Run a script, and tell what it changed, where this process is told of the room."""
        feed = self._feeds.get(room_id)
        place = None if feed is None else feed.place
        granted = await self._steps.step(name, room_id, args, op=op, known=place, keys=keys)
        if granted is None:
            return None
        is_told = False
        if feed is not None and feed.place is not None:
            try:
                is_told = await feed.reach(granted)
            except StoreUnavailable:
                raise refusals.in_doubt() from None
        if not is_told:  # the room is entered anew here, but whoever asked for this waits for it
            for told in granted.news:
                if told.change is not None and not isinstance(told.change, Moved):
                    self._tell(room_id, told.change)
        return granted

    async def _reserve(self, room_id: str, epoch: str) -> None:
        try:
            if not await self._index.reserve(room_id, epoch):
                raise refusals.too_many_rooms()
        except StoreUnavailable:
            raise refusals.store_away() from None

    def _tell(self, room_id: str, change: Change) -> None:
        self._listener(room_id, change)


def _nobody(room_id: str, change: Change) -> None:
    """Nobody listens yet."""
