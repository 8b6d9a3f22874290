"""What happens in a room, as values, and the bounded queue in which a program finds it.

Streams in a room come as `AnswerStarted` with a handle; their text is in the handle, never in
this queue. A program that does not read for long loses the oldest events, is told how many
(`EventsMissed`), and finds what was said in the room's history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from wsserver_client.calls import Message
from wsserver_client.errors import ClientError
from wsserver_client.signal import Signal
from wsserver_client.streams import StreamHandle

QUEUE_LENGTH = 1024
"""Events that a reader may be behind."""


@dataclass(frozen=True)
class RoomEntry:
    """An entry of a room's log: what a person (``user``) or the model (``assistant``) said.

    ``seq`` counts from 1 with no gaps and is the same for all members. ``user_id`` and ``name`` of
    an answer are the model's id. ``timestamp`` is milliseconds since the epoch.
    """

    seq: int
    message_id: str
    role: str
    client_id: str | None
    user_id: str | None
    name: str | None
    text: str
    timestamp: int
    data: Any = None
    stream_id: str | None = None
    continues: str | None = None  # of an answer that goes on with another: that one's stream


@dataclass(frozen=True)
class Member:
    """A user in a room, however many clients they have there."""

    user_id: str
    name: str | None
    role: str
    state: dict[str, Any]
    client_ids: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """Someone said something, this client perhaps; or it was missed and is told now."""

    entry: RoomEntry


@dataclass(frozen=True)
class AnswerStarted:
    """The model answers: ``stream`` is the answer, whoever asked."""

    stream: StreamHandle


@dataclass(frozen=True)
class Joined:
    """A user came. ``participants`` counts users."""

    client_id: str
    participants: int
    member: Member | None


@dataclass(frozen=True)
class Left:
    """A user left: ``left``, ``timeout``, ``kicked`` or ``banned``."""

    client_id: str
    participants: int
    reason: str
    user_id: str | None = None


@dataclass(frozen=True)
class PresenceChanged:
    """Members' states have changed; in big rooms many changes come as one."""

    changed: tuple[Member, ...] = ()
    joined: tuple[Member, ...] = ()
    left: tuple[str, ...] = ()
    participants: int | None = None


@dataclass(frozen=True)
class SettingsChanged:
    """The room's settings, all of them, as the wire spells them."""

    settings: dict[str, Any]
    by: str | None = None


@dataclass(frozen=True)
class RoleChanged:
    """A user's role changed; ``banned`` after a ban."""

    user_id: str
    role: str
    by: str | None = None


@dataclass(frozen=True)
class LogReplaced:
    """After a reconnect the room's log could not be joined to what was known: this is its end."""

    entries: tuple[RoomEntry, ...]


@dataclass(frozen=True)
class EventsMissed:
    """This reader was too slow: so many events were dropped before the next one."""

    count: int


RoomEvent = (
    Said
    | AnswerStarted
    | Joined
    | Left
    | PresenceChanged
    | SettingsChanged
    | RoleChanged
    | LogReplaced
    | EventsMissed
)


class RoomEvents(AsyncIterator[RoomEvent]):
    """A reader of a room's events. Ends when the room is left; raises if it is lost."""

    def __init__(self) -> None:
        self._events: deque[RoomEvent] = deque()
        self._missed = 0
        self._changed = Signal()
        self._closed = False
        self._error: ClientError | None = None

    def put(self, event: RoomEvent) -> None:
        if len(self._events) >= QUEUE_LENGTH:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._changed.ring()

    def close(self, error: ClientError | None) -> None:
        """No more events come; those that are there can still be read."""
        self._closed = True
        self._error = error
        self._changed.ring()

    def __aiter__(self) -> RoomEvents:
        return self

    async def __anext__(self) -> RoomEvent:
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            await self._changed.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(missed)
        return self._events.popleft()


def entry_of(wire: Message) -> RoomEntry:
    return RoomEntry(
        seq=int(wire.get("seq", 0)),
        message_id=str(wire.get("messageId", "")),
        role=str(wire.get("role", "user")),
        client_id=wire.get("clientId"),
        user_id=wire.get("userId"),
        name=wire.get("name"),
        text=str(wire.get("text") or ""),
        timestamp=int(wire.get("timestamp", 0)),
        data=wire.get("data"),
        stream_id=wire.get("streamId"),
        continues=wire.get("continues"),
    )


def member_of(wire: Message) -> Member:
    return Member(
        user_id=str(wire.get("userId", "")),
        name=wire.get("name"),
        role=str(wire.get("role", "member")),
        state=dict(wire.get("state") or {}),
        client_ids=tuple(wire.get("clientIds") or ()),
    )


def room_event_of(event: Message) -> RoomEvent | None:
    """The event that this message tells; None if it tells none (or one that is not known)."""
    kind = event["type"]
    if kind == "room_message":
        return Said(entry_of(event))
    if kind == "room_user_joined":
        member = event.get("member")
        return Joined(
            str(event.get("clientId", "")),
            int(event.get("participants", 0)),
            None if member is None else member_of(member),
        )
    if kind == "room_user_left":
        return Left(
            str(event.get("clientId", "")),
            int(event.get("participants", 0)),
            str(event.get("reason", "left")),
            event.get("userId"),
        )
    if kind == "room_presence":
        return _presence_of(event)
    if kind == "room_updated":
        return SettingsChanged(dict(event.get("settings") or {}), event.get("by"))
    if kind == "room_role":
        return RoleChanged(
            str(event.get("userId", "")), str(event.get("role", "")), event.get("by")
        )
    return None


def _presence_of(event: Message) -> PresenceChanged:
    one = [event["member"]] if event.get("member") else []
    return PresenceChanged(
        changed=tuple(member_of(wire) for wire in [*one, *(event.get("changed") or ())]),
        joined=tuple(member_of(wire) for wire in event.get("joined") or ()),
        left=tuple(event.get("left") or ()),
        participants=event.get("participants"),
    )
