"""Room broker of a single process; several share one `MemoryRooms` where tests need them to."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from wsserver.core.ask import Claim
from wsserver.core.ids import new_id, new_token
from wsserver.core.rooms import refusals
from wsserver.core.rooms.bounds import BANS_KEPT, INVITES_KEPT, MEMBERS_SHOWN
from wsserver.core.rooms.broker import Joined, Known, Listener, Opened, Position, Seat, Spoken
from wsserver.core.rooms.changes import (
    Asked,
    Change,
    Configured,
    Draft,
    Logged,
    OpenAsk,
    Origin,
    Ranked,
    Withdrawn,
)
from wsserver.core.rooms.log import page, replay
from wsserver.stores.memory.room_entering import (
    enter,
    invited_as,
    join_again,
    require_entry,
    stated,
)
from wsserver.stores.memory.room_state import Invite, MemberState, MemoryRooms, RoomState
from wsserver_protocol.events import RoomEntry, RoomSummary
from wsserver_protocol.fields import Access, Role
from wsserver_protocol.requests import RoomSettings


class MemoryRoomBroker:
    """Rooms as one process sees them. Nothing here is awaited: each method is one step."""

    def __init__(self, shared: MemoryRooms) -> None:
        self.node = new_id("node")
        self._shared = shared
        shared.processes[self.node] = lambda room_id, change: None

    def listen(self, listener: Listener) -> None:
        self._shared.processes[self.node] = listener

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
        shared = self._shared
        room = shared.fresh(room_id)
        invited = invited_as(room, invite, shared.clock())
        member = None if room is None else room.members.get(seat.user_key)
        if room is not None:
            if seat.user_key in room.bans:
                raise refusals.banned()
            if returns and seat.client_id in room.kicked:
                raise refusals.not_in_room()
            if member is None and known is None:
                require_entry(room, seat, invite, invited)
        else:
            room = shared.make(room_id)
            room.settings = known.settings if known is not None else room.settings
        told: list[Change] = []
        if member is None:
            member, entered = enter(room, seat, state, invited, known)
            told.append(entered)
        else:
            told += join_again(room, member, seat, state, rename, invited)
        for change in told:
            shared.tell(room, change)
        member.seats[seat.client_id] = self.node
        room.kicked.pop(seat.client_id, None)
        return self._seen(room, member, position)

    def _seen(self, room: RoomState, member: MemberState, position: Position | None) -> Joined:
        recovered, entries = replay(room.entries, room.epoch, room.seq, position)
        shown = [other.shown() for other in islice(room.members.values(), MEMBERS_SHOWN)]
        return Joined(
            epoch=room.epoch,
            seq=room.seq,
            recovered=recovered,
            entries=tuple(entries),
            participants=len(room.members),
            members=tuple(shown),
            role=member.role,
            settings=room.settings,
            open_asks=tuple(ask for ask, _ in room.asks.values()),
        )

    async def leave(
        self, room_id: str, user_key: str, client_id: str, reason: str, takes: int | None = None
    ) -> list[str]:
        shared = self._shared
        room = shared.rooms.get(room_id)
        member = room.members.get(user_key) if room is not None else None
        if room is None or member is None or client_id not in member.seats:
            return []
        others = {client: node for client, node in member.seats.items() if client != client_id}
        if others:
            member.seats = others
            return []
        listening = room.processes()
        shared.tell(room, room.remove(member, reason, Origin(client_id)), listening)
        if not room.members:
            return shared.emptied(room)
        handed_on = room.hand_on(member)
        if handed_on is not None:
            shared.tell(room, handed_on)
        return []

    # Talking -----------------------------------------------------------------------------------

    async def say(
        self, room_id: str, draft: Draft, origin: Origin, claim: Claim | None = None
    ) -> Spoken:
        # The claim is of no use here: the one process there is knows the request itself.
        room = self._shared.require(room_id)
        room.require_seat(origin)
        entry = room.append(draft, self._shared.clock())
        self._shared.tell(room, Logged(entry=entry, origin=origin))
        return Spoken(entry, is_first=True)

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
        room = self._shared.require(room_id)
        room.require_seat(origin)
        if is_alone and room.asks:
            raise refusals.busy()
        ahead = tuple(room.asks)
        steered = ahead if steers else ()
        entry = room.append(draft, self._shared.clock()) if draft is not None else None
        if entry is not None:
            ask = msgspec.structs.replace(ask, seq=entry.seq)
        room.asks[ask.stream_id] = (ask, self.node)
        self._shared.tell(room, Asked(ask=ask, entry=entry, steered=steered, origin=origin))
        return Opened(ask.seq, ahead)

    async def answer(self, room_id: str, draft: Draft) -> RoomEntry | None:
        room = self._shared.rooms.get(room_id)
        if room is None or draft.stream_id is None:
            return None
        listening = room.processes()
        if room.asks.pop(draft.stream_id, None) is None:
            return room.answer_of(draft.stream_id)  # no ask is late: the process has its own order
        entry = room.append(draft, self._shared.clock())
        self._shared.tell(room, Logged(entry=entry), listening)
        return entry

    async def withdraw(self, room_id: str, stream_id: str) -> None:
        room = self._shared.rooms.get(room_id)
        if room is not None and room.asks.pop(stream_id, None) is not None:
            self._shared.tell(room, Withdrawn(stream_id=stream_id))

    async def set_state(
        self, room_id: str, user_key: str, state: dict[str, Any], origin: Origin
    ) -> None:
        room = self._shared.require(room_id)
        member = room.member(user_key)
        room.require_seat(origin)
        member.state = state
        self._shared.tell(room, stated(room, member, origin))

    # Running a room ----------------------------------------------------------------------------

    async def configure(self, room_id: str, changes: RoomSettings, by: str, origin: Origin) -> None:
        room = self._shared.require(room_id)
        room.require_seat(origin)
        given = {
            name: None if value == "" else value
            for name in RoomSettings.__struct_fields__
            if (value := getattr(changes, name)) is not None
        }
        settings = msgspec.structs.replace(room.settings, **given)
        if settings.access is Access.INVITED and room.settings.access is not Access.INVITED:
            room.roles |= {key: member.role for key, member in room.members.items()}
        room.settings = settings
        self._shared.tell(room, Configured(settings=settings, by=by, origin=origin))

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
        room = self._shared.require(room_id)
        room.require_seat(origin)
        if user_key in room.bans:
            raise refusals.is_banned()
        if room.role_of(user_key) is None:
            raise refusals.no_such_user("is not known in this room")
        room.require_reach(user_key, reach)
        if role is not Role.OWNER and room.owners() == [user_key]:
            raise refusals.needs_an_owner()
        member = room.members.get(user_key)
        if member is not None:
            member.role = role
        room.roles[user_key] = role
        change = Ranked(user_key=user_key, user_id=user_id, role=role, by=by, origin=origin)
        self._shared.tell(room, change)

    async def kick(self, room_id: str, user_key: str, *, reach: Role, origin: Origin) -> None:
        room = self._shared.require(room_id)
        room.require_seat(origin)
        member = room.members.get(user_key)
        if member is None:
            raise refusals.no_such_user("is no member of this room")
        room.require_reach(user_key, reach)
        room.note_kicked(member)
        self._throw_out(room, member, "kicked", origin)

    async def ban(
        self, room_id: str, user_key: str, user_id: str, *, reach: Role, by: str, origin: Origin
    ) -> None:
        room = self._shared.require(room_id)
        room.require_seat(origin)
        room.require_reach(user_key, reach)
        if len(room.bans) >= BANS_KEPT and user_key not in room.bans:
            raise refusals.too_many_bans(BANS_KEPT)
        room.bans.add(user_key)
        member = room.members.get(user_key)
        if member is not None:
            self._throw_out(room, member, "banned", None)
        room.roles.pop(user_key, None)
        change = Ranked(user_key=user_key, user_id=user_id, role=None, by=by, origin=origin)
        self._shared.tell(room, change)

    async def unban(
        self, room_id: str, user_key: str, user_id: str, *, by: str, origin: Origin
    ) -> None:
        room = self._shared.require(room_id)
        room.require_seat(origin)
        if user_key not in room.bans:
            raise refusals.no_such_user("is not banned from this room")
        room.bans.remove(user_key)
        change = Ranked(user_key=user_key, user_id=user_id, role=Role.MEMBER, by=by, origin=origin)
        self._shared.tell(room, change)

    async def invite(self, room_id: str, role: Role, seconds: float, origin: Origin) -> str:
        room, now = self._shared.require(room_id), self._shared.clock()
        room.require_seat(origin)
        room.invites = {t: i for t, i in room.invites.items() if i.expires_at > now}
        while len(room.invites) >= INVITES_KEPT:
            del room.invites[next(iter(room.invites))]
        token = new_token()
        room.invites[token] = Invite(role, now + round(seconds * 1000))
        return token

    def _throw_out(
        self, room: RoomState, member: MemberState, reason: str, origin: Origin | None
    ) -> None:
        listening = room.processes()
        room.roles.pop(member.user_key, None)
        self._shared.tell(room, room.remove(member, reason, origin), listening)

    # Reading -----------------------------------------------------------------------------------

    async def history(
        self, room_id: str, before: int | None, limit: int
    ) -> tuple[list[RoomEntry], bool]:
        room = self._shared.fresh(room_id)
        return page(room.entries if room is not None else (), before, limit)

    async def newest(self, room_id: str, size: int) -> list[RoomEntry]:
        room = self._shared.rooms.get(room_id)
        found: list[RoomEntry] = []
        for entry in reversed(room.entries if room is not None else ()):
            size -= len(entry.text.encode())
            if size < 0:
                break
            found.append(entry)
        return found[::-1]

    async def open_asks(self, room_id: str) -> list[str]:
        room = self._shared.rooms.get(room_id)
        return list(room.asks) if room is not None else []

    async def rooms(
        self, user_key: str, cursor: str | None, limit: int
    ) -> tuple[list[RoomSummary], bool]:
        seen = sorted(
            (room for room in self._shared if _is_seen(room, user_key)),
            key=lambda room: room.room_id,
        )
        after = [room for room in seen if cursor is None or room.room_id > cursor]
        summaries = [
            RoomSummary(
                room_id=room.room_id, title=room.settings.title, participants=len(room.members)
            )
            for room in after[:limit]
        ]
        return summaries, len(after) > limit

    async def sweep(self) -> None:
        self._shared.sweep()


def _is_seen(room: RoomState, user_key: str) -> bool:
    """Whether a room is on a user's list."""
    if user_key in room.bans:
        return False
    return room.settings.access is not Access.INVITED or room.role_of(user_key) is not None
