"""Rooms: who is in, what was said, in one order for all.

Members are users: a user counts once, whatever tabs. A room has one log with an epoch and a
``seq`` that counts from 1 without gaps; people's messages, asks and answers are its entries. A
room that empties is forgotten, its log with it; a room of the same name later has another epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from wsserver.core.ask import Answer
from wsserver.core.clients import Client
from wsserver.core.ids import new_id
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.wallclock import wall_ms
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import Role
from wsserver_protocol.lifecycle import StopReason

MEMBERS_SHOWN = 100
"""`room_joined.members` holds at most this many."""

REPLAY_BYTES = 512 * 1024
"""Entries of one `room_joined` hold at most so much as JSON: a frame is at most 1 MiB."""

REPLAY_PAGE = 100
"""Entries of the newest page, where a replay from ``lastSeq`` is not possible."""


@dataclass(slots=True)
class Member:
    """A user in a room, on one or more clients."""

    user_id: str
    name: str
    role: Role
    state: dict[str, Any] | None = None
    clients: list[Client] = field(default_factory=list)

    @property
    def moderates(self) -> bool:
        """Whether the member may stop other people's answers."""
        return self.role in (Role.OWNER, Role.MODERATOR)

    def describe(self) -> events.Member:
        return events.Member(
            user_id=self.user_id,
            name=self.name,
            role=self.role,
            state=self.state or {},
            client_ids=tuple(client.client_id for client in self.clients),
        )


class Room:
    """One room's members and log. ``log_bound`` entries are kept."""

    def __init__(self, room_id: str, log_bound: int) -> None:
        self.room_id = room_id
        self.epoch = new_id("ep")
        self.seq = 0
        self.entries: deque[events.RoomEntry] = deque(maxlen=log_bound)
        self.members: dict[str, Member] = {}  # by identity key, in order of joining
        self.streams: dict[str, Answer] = {}  # running, by streamId

    def connections(self, *, besides: Client | None = None) -> Iterator[Client]:
        """Clients in the room, ``besides`` left out."""
        for member in self.members.values():
            for client in member.clients:
                if client is not besides:
                    yield client

    def announce(self, event: events.Event, *, besides: Client | None = None) -> None:
        """Send an event to everyone who is there."""
        for client in self.connections(besides=besides):
            if client.connection is not None:
                client.connection.send(event)

    def append(
        self,
        *,
        role: str,
        client_id: str,
        user_id: str,
        name: str,
        text: str,
        data: object = None,
        stream_id: str | None = None,
    ) -> events.RoomEntry:
        """Add an entry to the log under the next ``seq``."""
        self.seq += 1
        entry = events.RoomEntry(
            seq=self.seq,
            message_id=new_id("msg"),
            role=role,
            client_id=client_id,
            user_id=user_id,
            name=name,
            text=text,
            data=data,
            stream_id=stream_id,
            timestamp=wall_ms(),
        )
        self.entries.append(entry)
        return entry

    def since(self, last_seq: int | None, epoch: str | None) -> tuple[bool, list[events.RoomEntry]]:
        """What came after ``last_seq``: all of it, or the newest page and False."""
        if last_seq is None:
            return True, self._newest(REPLAY_PAGE)
        oldest = self.entries[0].seq if self.entries else self.seq + 1
        known_epoch = epoch is None or epoch == self.epoch
        if known_epoch and oldest - 1 <= last_seq <= self.seq:
            missed = self._newest(self.seq - last_seq)
            if len(missed) == self.seq - last_seq:
                return True, missed
        # All or nothing: a replay with a hole would look like the whole log.
        return False, self._newest(REPLAY_PAGE)

    def page(self, before: int | None, limit: int) -> tuple[list[events.RoomEntry], bool]:
        """At most ``limit`` entries before ``before``, oldest first; whether others precede."""
        older = (e for e in reversed(self.entries) if before is None or e.seq < before)
        page = _as_fits(islice(older, limit))
        first = page[0].seq if page else before or 0
        return page, bool(self.entries) and self.entries[0].seq < first

    def _newest(self, count: int) -> list[events.RoomEntry]:
        """At most ``count`` of the newest entries, oldest first, as far as one frame holds them."""
        return _as_fits(islice(reversed(self.entries), count))


class Rooms:
    """All rooms of this process.

    Args:
        log_bound: Entries that a room's log keeps.
        stop: Stops a room's answer that nobody is left for.
    """

    def __init__(
        self, *, log_bound: int, stop: Callable[[Answer, StopReason, str], object]
    ) -> None:
        self._log_bound = log_bound
        self._stop = stop
        self._rooms: dict[str, Room] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def all(self) -> list[Room]:
        return list(self._rooms.values())

    def get(self, room_id: str) -> Room | None:
        return self._rooms.get(room_id)

    def of_member(self, client: Client, room_id: str) -> Room:
        """The room, which the client must be in.

        Raises:
            WireError: ``not_in_room``, also if there is no such room.
        """
        room = self._rooms.get(room_id)
        if room is None or room_id not in client.room_ids:
            raise WireError(ErrorCode.NOT_IN_ROOM, "You are not in this room.")
        return room

    def join(
        self, client: Client, room_id: str, *, name: str | None, state: dict[str, Any] | None
    ) -> Room:
        """Put a client into a room, made if need be. Tells the others of a new user, once."""
        room = self._rooms.get(room_id)
        if room is None:
            room = self._rooms[room_id] = Room(room_id, self._log_bound)
        if name is not None:
            client.name = name
        key = client.identity.key
        member = room.members.get(key)
        is_new = member is None
        if member is None:
            role = Role.MEMBER if room.members else Role.OWNER
            member = Member(client.identity.user_id, client.display_name, role)
            room.members[key] = member
        elif name is not None:
            member.name = name
        if state is not None:
            member.state = state
        if client not in member.clients:
            member.clients.append(client)
        if room_id in client.room_ids:
            client.room_ids.remove(room_id)  # joined last is last
        client.room_ids.append(room_id)
        if is_new:
            joined = events.RoomUserJoined(
                room_id=room_id,
                client_id=client.client_id,
                participants=len(room.members),
                member=member.describe(),
            )
            room.announce(joined, besides=client)
        return room

    def update_presence(self, client: Client, room: Room, state: dict[str, Any]) -> Member:
        """Replace a member's state, whichever of its clients says so."""
        member = room.members[client.identity.key]
        member.state = state
        return member

    def leave(self, client: Client, room: Room, reason: str) -> None:
        """Take a client out; the user is gone with the last one, and the room with the last user.

        Args:
            client: One of the room's clients.
            room: The room it leaves.
            reason: For the others: "left", "timeout", "kicked".
        """
        client.room_ids.remove(room.room_id)
        key = next(k for k, m in room.members.items() if client in m.clients)
        member = room.members[key]
        member.clients.remove(client)
        if member.clients:
            return
        del room.members[key]
        if room.members:
            left = events.RoomUserLeft(
                room_id=room.room_id,
                client_id=client.client_id,
                participants=len(room.members),
                reason=reason,
            )
            room.announce(left)
            return
        del self._rooms[room.room_id]
        for answer in list(room.streams.values()):
            self._stop(answer, StopReason.DISCONNECT, "server")

    async def log_answer(self, room: Room, record: StreamRecord, ending: Ending) -> None:
        """Give an answer that ended its place in the log: before its end is told."""
        del room.streams[record.stream_id]
        entry = room.append(
            role="assistant",
            client_id="server",
            user_id=record.model_id,
            name=record.model_id,
            text=record.transcript.text,
            stream_id=record.stream_id,
        )
        record.seq = entry.seq


def _as_fits(newest_first: Iterable[events.RoomEntry]) -> list[events.RoomEntry]:
    """The newest entries that one frame holds, at least one, oldest first."""
    page: list[events.RoomEntry] = []
    size = 0
    for entry in newest_first:
        size += len(encode(entry, Encoding.JSON))
        if page and size > REPLAY_BYTES:
            break
        page.append(entry)
    return page[::-1]
