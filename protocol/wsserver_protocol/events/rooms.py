"""Events of rooms."""

from __future__ import annotations

from typing import Any

from wsserver_protocol.events.base import Part, ServerMessage
from wsserver_protocol.fields import Role
from wsserver_protocol.lifecycle import StreamState
from wsserver_protocol.requests.rooms import RoomSettings


class Member(Part, frozen=True, kw_only=True):
    """A user in a room, however many clients they have there.

    Attributes:
        user_id: Who.
        name: Name to show, null if they gave none.
        role: What they may do.
        state: Their presence state.
        client_ids: Their clients in the room.
    """

    user_id: str
    name: str | None
    role: Role
    state: dict[str, Any]
    client_ids: tuple[str, ...]


class RoomEntry(Part, frozen=True, kw_only=True):
    """An entry of a room's log.

    Attributes:
        seq: Its number: from 1, with no gaps, the same for all.
        message_id: Its id.
        role: ``user`` or ``assistant``.
        client_id: Who said it; of an answer: who asked.
        user_id: Who said it; of an answer: who asked.
        name: Name to show, null if there is none.
        text: What was said; empty where there is only data.
        data: What an application said besides.
        stream_id: Of a question and its answer: the stream.
        continues: Of an answer that goes on with another one: that one's stream.
        timestamp: When, in milliseconds since the epoch.
    """

    seq: int
    message_id: str
    role: str
    client_id: str | None
    user_id: str | None
    name: str | None
    text: str
    data: Any = None
    stream_id: str | None = None
    continues: str | None = None
    timestamp: int


class ActiveStream(Part, frozen=True, kw_only=True):
    """An answer that a room is getting.

    Attributes:
        stream_id: The stream.
        client_id: Who asked.
        model: Id of the model that answers.
        state: Where it stands.
        offset: Length of the answer so far, in UTF-8 bytes.
    """

    stream_id: str
    client_id: str
    model: str
    state: StreamState
    offset: int


class RoomJoined(ServerMessage, frozen=True, kw_only=True, tag="room_joined"):
    """The caller is in the room, and this is what it looks like.

    Attributes:
        room_id: The room.
        participants: Users in it.
        members: Who they are, at most 100 of them.
        epoch: Id of the log; a log begun anew has another one.
        seq: Last ``seq`` of the log.
        recovered: Whether ``messages`` joins what the client has. False: replace the log by it.
        messages: What came after ``lastSeq``, or the newest page.
        active_streams: Answers that are being made.
        role: What the caller may do.
        settings: The room's settings.
    """

    room_id: str
    participants: int
    members: tuple[Member, ...]
    epoch: str
    seq: int
    recovered: bool
    messages: tuple[RoomEntry, ...]
    active_streams: tuple[ActiveStream, ...]
    role: Role
    settings: RoomSettings


class RoomUserJoined(ServerMessage, frozen=True, kw_only=True, tag="room_user_joined"):
    """A user came into the room; to the others.

    Attributes:
        room_id: The room.
        client_id: Their client.
        participants: Users in it now.
        member: Who it is.
    """

    room_id: str
    client_id: str
    participants: int
    member: Member


class RoomUserLeft(ServerMessage, frozen=True, kw_only=True, tag="room_user_left"):
    """A user left the room; to the others.

    Attributes:
        room_id: The room.
        client_id: Their last client.
        participants: Users in it now.
        reason: Why: ``left``, ``timeout``, ``kicked`` or ``banned``.
        user_id: Who it was.
    """

    room_id: str
    client_id: str
    participants: int
    reason: str
    user_id: str | None = None


class RoomLeft(ServerMessage, frozen=True, kw_only=True, tag="room_left"):
    """Answer to ``leave_room``.

    Attributes:
        room_id: The room.
    """

    room_id: str


class RoomEntryEvent(ServerMessage, frozen=True, kw_only=True, tag="room_message"):
    """Someone said something: an entry of the log as it is made. The sender gets it, too.

    Attributes:
        room_id: The room.
        seq: Its number: from 1, with no gaps, the same for all.
        message_id: Its id.
        role: ``user``.
        client_id: Who said it.
        user_id: Who said it.
        name: Name to show, null if there is none.
        text: What was said; empty where there is only data.
        data: What an application said besides.
        stream_id: Of a question and its answer: the stream.
        continues: Of an answer that goes on with another one: that one's stream.
        timestamp: When, in milliseconds since the epoch.
    """

    room_id: str
    seq: int
    message_id: str
    role: str
    client_id: str | None
    user_id: str | None
    name: str | None
    text: str
    data: Any = None
    stream_id: str | None = None
    continues: str | None = None
    timestamp: int


class RoomPresence(ServerMessage, frozen=True, kw_only=True, tag="room_presence"):
    """Presence of a room has changed.

    One member: ``member``. In big rooms changes are joined up: ``joined``, ``left``, ``changed``.

    Attributes:
        room_id: The room.
        member: The member whose state changed, as they are now.
        joined: Who came.
        left: userIds of who left.
        changed: Whose state changed.
        participants: Users in it now.
    """

    room_id: str
    member: Member | None = None
    joined: tuple[Member, ...] | None = None
    left: tuple[str, ...] | None = None
    changed: tuple[Member, ...] | None = None
    participants: int | None = None


class RoomUpdated(ServerMessage, frozen=True, kw_only=True, tag="room_updated"):
    """The room's settings have changed.

    Attributes:
        room_id: The room.
        settings: All of them, as they are now.
        by: userId of who changed them.
    """

    room_id: str
    settings: RoomSettings
    by: str | None = None


class RoomRole(ServerMessage, frozen=True, kw_only=True, tag="room_role"):
    """A user's role has changed; also the answer to ``set_role``, ``ban`` and ``unban``.

    Attributes:
        room_id: The room.
        user_id: Whose.
        role: The role now; ``banned`` after a ban.
        by: userId of who changed it.
    """

    room_id: str
    user_id: str
    role: str
    by: str


class RoomInvite(ServerMessage, frozen=True, kw_only=True, tag="room_invite"):
    """Answer to ``create_invite``.

    Attributes:
        room_id: The room.
        invite: What ``join_room`` takes as its ``invite``.
        expires_at: Until when it is good, milliseconds since the epoch.
    """

    room_id: str
    invite: str
    expires_at: int | None = None


class RoomSummary(Part, frozen=True, kw_only=True):
    """A room in short.

    Attributes:
        room_id: Its id.
        title: Its title, null if it has none.
        participants: Users in it.
    """

    room_id: str
    title: str | None
    participants: int


class RoomsList(ServerMessage, frozen=True, kw_only=True, tag="rooms_list"):
    """Answer to ``list_rooms``: the rooms that the caller may see.

    Attributes:
        rooms: A page of them.
        next_cursor: Cursor of the next page; absent: this is the last one.
    """

    rooms: tuple[RoomSummary, ...]
    next_cursor: str | None = None


class RoomHistoryPage(ServerMessage, frozen=True, kw_only=True, tag="room_history"):
    """Answer to ``room_history``.

    Attributes:
        room_id: The room.
        messages: A page of the log, oldest first.
        has_more: Whether there are older ones.
    """

    room_id: str
    messages: tuple[RoomEntry, ...]
    has_more: bool
