"""Requests about rooms: places where several users share one conversation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wsserver_protocol.fields import (
    Access,
    Ask,
    Count,
    Credential,
    Id,
    IdOrNone,
    Name,
    NonEmpty,
    PageSize,
    Role,
    Title,
    WhenBusy,
)
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.requests.base import ClientMessage, LogPosition


class RoomSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of a room. In ``update_room`` what is absent stays as it is, and an empty text
    takes its setting away.

    Attributes:
        title: Title for lists.
        model: Model of questions that name none.
        system_prompt: System prompt of its conversation.
        options: Options of questions, each where a question does not give its own.
        max_members: Most members at a time, 1 to 100,000.
        access: Who may enter: ``open`` or ``invited``.
        ask: Who may ask the model: ``everyone`` (viewers, too), ``members`` (so without a
            setting) or ``moderators``.
        when_busy: A question while another is answered: ``queue`` (so without a setting),
            ``reject``, ``parallel`` or ``steer``.
        locked: Whether nobody new may enter, invited or not; moderators may come back.
    """

    title: Title | None = None
    model: IdOrNone | None = None
    system_prompt: str | None = None
    options: GenerationOptions | None = None
    max_members: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    access: Access | None = None
    ask: Ask | None = None
    when_busy: WhenBusy | None = None
    locked: bool | None = None


class JoinRoom(ClientMessage, frozen=True, kw_only=True, tag="join_room"):
    """Enter a room, or ask again what it looks like. Answered ``room_joined``.

    Attributes:
        room_id: The room; it is made if there is none.
        name: Name to show to the others.
        state: Presence state, anything the client wants others to see; at most 8 KiB as JSON.
        invite: An invitation, for rooms that ask for one.
        last_seq: Last ``seq`` of the log that the client has, or ``{epoch, seq}``: what came
            after it is replayed.
    """

    room_id: Id
    name: Name | None = None
    state: dict[str, Any] | None = None
    invite: Credential | None = None
    last_seq: LogPosition | None = None


class LeaveRoom(ClientMessage, frozen=True, kw_only=True, tag="leave_room"):
    """Leave a room. Answered ``room_left``.

    Attributes:
        room_id: The room; left out: the one joined last.
    """

    room_id: Id | None = None


class RoomMessage(ClientMessage, frozen=True, kw_only=True, tag="room_message"):
    """Say something to all members. The sender's own copy carries its requestId.

    Attributes:
        room_id: The room.
        text: What is said. At least one of text and data is given.
        data: Anything else, for applications; text and data together at most 256 KiB as JSON.
    """

    room_id: Id
    text: NonEmpty | None = None
    data: Any = None


class UpdatePresence(ClientMessage, frozen=True, kw_only=True, tag="update_presence"):
    """Replace one's presence state (a typing sign is one). Answered ``room_presence``.

    Attributes:
        room_id: The room.
        state: The new state; at most 8 KiB as JSON.
    """

    room_id: Id
    state: dict[str, Any]


class UpdateRoom(ClientMessage, frozen=True, kw_only=True, tag="update_room"):
    """Change settings of a room. Answered ``room_updated``, to all members.

    Attributes:
        room_id: The room.
        settings: What to change.
    """

    room_id: Id
    settings: RoomSettings


class SetRole(ClientMessage, frozen=True, kw_only=True, tag="set_role"):
    """Give a user another role, also one who is not there. Answered ``room_role``, to all members.

    Attributes:
        room_id: The room.
        user_id: Whose role.
        role: The new role.
    """

    room_id: Id
    user_id: Id
    role: Role


class Kick(ClientMessage, frozen=True, kw_only=True, tag="kick"):
    """Send a user out of a room, with all clients; they may come back as anybody may.

    Attributes:
        room_id: The room.
        user_id: Whom.
    """

    room_id: Id
    user_id: Id


class Ban(ClientMessage, frozen=True, kw_only=True, tag="ban"):
    """Send a user out of a room for good.

    Attributes:
        room_id: The room.
        user_id: Whom.
    """

    room_id: Id
    user_id: Id


class Unban(ClientMessage, frozen=True, kw_only=True, tag="unban"):
    """Let a banned user come back.

    Attributes:
        room_id: The room.
        user_id: Whom.
    """

    room_id: Id
    user_id: Id


class CreateInvite(ClientMessage, frozen=True, kw_only=True, tag="create_invite"):
    """Make an invitation to a room. Answered ``room_invite``.

    Attributes:
        room_id: The room.
        role: Role of who comes with it; default ``member``.
        expires_in: Milliseconds for which it is good; default, and at most: the server's.
    """

    room_id: Id
    role: Role = Role.MEMBER
    expires_in: Count | None = None


class ListRooms(ClientMessage, frozen=True, kw_only=True, tag="list_rooms"):
    """Ask which rooms there are. Answered ``rooms_list``.

    Attributes:
        cursor: ``nextCursor`` of the page before; left out: the first page.
        limit: Rooms a page, 1 to 200.
    """

    cursor: Id | None = None
    limit: PageSize | None = None


class RoomHistory(ClientMessage, frozen=True, kw_only=True, tag="room_history"):
    """Read a room's log, oldest first. Answered ``room_history``.

    Attributes:
        room_id: The room.
        before: ``seq`` before which the page ends; left out: the newest page.
        limit: Entries a page, 1 to 200.
    """

    room_id: Id
    before: Count | None = None
    limit: PageSize | None = None
