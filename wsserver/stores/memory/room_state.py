"""Rooms in memory: the shared data that brokers of one or several "processes" work on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from wsserver.core.ids import new_id
from wsserver.core.rooms import refusals
from wsserver.core.rooms.bounds import RoomBounds
from wsserver.core.rooms.changes import Change, Draft, Left, OpenAsk, Origin, Ranked
from wsserver.core.rooms.rights import RANKS
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.events import Member, RoomEntry
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings

Tell = Callable[[str, Change], None]

KICKED_KEPT = 1024
"""Kicked clients that a room remembers, the newest."""


@dataclass(slots=True)
class MemberState:
    """A user who is there."""

    user_key: str
    user_id: str
    name: str
    role: Role
    state: dict[str, Any]
    seats: dict[str, str] = field(default_factory=dict)  # clientId to its process

    def shown(self) -> Member:
        return Member(
            user_id=self.user_id,
            name=self.name,
            role=self.role,
            state=self.state,
            client_ids=tuple(self.seats),
        )


@dataclass(slots=True)
class Invite:
    """What an invite is good for, and until when (milliseconds since the epoch)."""

    role: Role
    expires_at: int


class RoomState:
    """All that is shared of one room."""

    def __init__(self, room_id: str, entries: int) -> None:
        self.room_id = room_id
        self.epoch = new_id("ep")
        self.seq = 0
        self.entries: deque[RoomEntry] = deque(maxlen=entries)
        self.settings = RoomSettings()
        self.members: dict[str, MemberState] = {}  # by user key, in order of joining
        self.roles: dict[str, Role] = {}  # remembered, by user key
        self.bans: set[str] = set()  # user keys
        self.kicked: dict[str, None] = {}  # clientIds, the newest last
        self.invites: dict[str, Invite] = {}
        self.asks: dict[str, tuple[OpenAsk, str]] = {}  # with their processes, by streamId
        self.emptied_at = 0  # milliseconds since the epoch, where nobody is there

    def processes(self) -> set[str]:
        """Those that are told what happens."""
        seated = {node for member in self.members.values() for node in member.seats.values()}
        return seated | {node for _, node in self.asks.values()}

    def member(self, user_key: str) -> MemberState:
        """Raises ``not_in_room`` if the user is no member."""
        member = self.members.get(user_key)
        if member is None:
            raise refusals.not_in_room()
        return member

    def require_seat(self, origin: Origin) -> None:
        """Raises ``not_in_room`` if the client has lost its seat since it asked."""
        if not any(origin.client_id in member.seats for member in self.members.values()):
            raise refusals.not_in_room()

    def role_of(self, user_key: str) -> Role | None:
        """The role that a user has here, or would have on coming back."""
        member = self.members.get(user_key)
        return member.role if member is not None else self.roles.get(user_key)

    def require_reach(self, user_key: str, reach: Role) -> None:
        """Raises ``forbidden`` if the user's role is too high to be acted on."""
        role = self.role_of(user_key)
        if role is not None and RANKS[role] > RANKS[reach]:
            raise refusals.out_of_reach()

    def owners(self) -> list[str]:
        return [key for key, member in self.members.items() if member.role is Role.OWNER]

    def answer_of(self, stream_id: str) -> RoomEntry | None:
        """The answer of a stream, if it is logged, and kept."""
        return next((e for e in self.entries if _is_answer(e, stream_id)), None)

    def append(self, draft: Draft, now: int) -> RoomEntry:
        """Give an entry its place."""
        self.seq += 1
        entry = RoomEntry(
            seq=self.seq,
            message_id=new_id("msg"),
            role=draft.role,
            client_id=draft.client_id,
            user_id=draft.user_id,
            name=draft.name,
            text=draft.text,
            data=draft.data,
            stream_id=draft.stream_id,
            continues=draft.continues,
            timestamp=now,
        )
        self.entries.append(entry)
        return entry

    def remove(self, member: MemberState, reason: str, origin: Origin | None) -> Left:
        """Take a member out, with whatever seats it has."""
        shown = member.shown()
        del self.members[member.user_key]
        return Left(
            user_key=member.user_key,
            user_id=member.user_id,
            client_ids=shown.client_ids,
            participants=len(self.members),
            reason=reason,
            member=shown,
            origin=origin,
        )

    def note_kicked(self, member: MemberState) -> None:
        """Have a member's clients not come back to their seats by themselves."""
        self.kicked |= dict.fromkeys(member.seats)
        while len(self.kicked) > KICKED_KEPT:
            del self.kicked[next(iter(self.kicked))]

    def hand_on(self, leaver: MemberState) -> Ranked | None:
        """If the last owner has left, make the member who is next one."""
        if leaver.role is not Role.OWNER or not self.members or self.owners():
            return None
        # Of equals `max` takes the first: the one who is there longest.
        heir = max(self.members.values(), key=lambda member: RANKS[member.role])
        heir.role = self.roles[heir.user_key] = Role.OWNER
        return Ranked(user_key=heir.user_key, user_id=heir.user_id, role=Role.OWNER, by="server")

    def drop_older(self, oldest: int) -> None:
        """Drop entries from before a time, in milliseconds since the epoch."""
        while self.entries and self.entries[0].timestamp < oldest:
            self.entries.popleft()


def _is_answer(entry: RoomEntry, stream_id: str) -> bool:
    return entry.stream_id == stream_id and entry.role == "assistant"


class MemoryRooms:
    """All rooms, and the processes that share them.

    Args:
        bounds: What is kept.
        clock: The time of day, in milliseconds since the epoch.
    """

    def __init__(self, bounds: RoomBounds, clock: Callable[[], int] = wall_ms) -> None:
        self.bounds = bounds
        self.clock = clock
        self.rooms: dict[str, RoomState] = {}
        self.processes: dict[str, Tell] = {}  # by name, how each is told
        self.leases: dict[str, float] = {}  # by process, until when (ms since the epoch)

    def __iter__(self) -> Iterator[RoomState]:
        return iter(self.rooms.values())

    def require(self, room_id: str) -> RoomState:
        """Raises ``not_in_room`` if there is no such room."""
        room = self.rooms.get(room_id)
        if room is None:
            raise refusals.not_in_room()
        return room

    def make(self, room_id: str) -> RoomState:
        """A new room, in place of the one that is empty longest if need be.

        Raises:
            WireError: ``overloaded`` if there is none.
        """
        if len(self.rooms) >= self.bounds.rooms:
            empty = [room for room in self if not room.members]
            if not empty:
                raise refusals.too_many_rooms()
            del self.rooms[min(empty, key=lambda room: room.emptied_at).room_id]
        room = self.rooms[room_id] = RoomState(room_id, self.bounds.entries)
        return room

    def tell(self, room: RoomState, change: Change, also: set[str] | None = None) -> None:
        """Tell a change to the processes that have someone there, and to ``also``."""
        for node in sorted(room.processes() | (also or set())):
            self.processes[node](room.room_id, change)

    def emptied(self, room: RoomState) -> list[str]:
        """Nobody is there any more. Returns the streams that nobody is left for."""
        room.emptied_at = self.clock()
        if not self.bounds.keep_seconds:
            del self.rooms[room.room_id]
        return list(room.asks)

    def sweep(self) -> None:
        """Drop what is past its time."""
        for room_id in list(self.rooms):
            self.fresh(room_id)

    def fresh(self, room_id: str) -> RoomState | None:
        """A room, without what is past its time; None if that is the room itself."""
        room, now, bounds = self.rooms.get(room_id), self.clock(), self.bounds
        if room is None:
            return None
        if not room.members and now - room.emptied_at > bounds.keep_seconds * 1000:
            del self.rooms[room_id]
            return None
        if bounds.entry_seconds:
            room.drop_older(now - round(bounds.entry_seconds * 1000))
        return room
