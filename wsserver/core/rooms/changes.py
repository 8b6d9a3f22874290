"""What happens in a room, as every process with members of it is told: one ordered stream.

A change carries all that its event needs, so that a process that hears of one asks the store for
nothing. They are structs with tags: a broker that spans processes writes them down as they are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wsserver_protocol.events import Member, RoomEntry
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings


class Origin(msgspec.Struct, frozen=True):
    """Whose request a change comes from: this client's copy of the event has the requestId."""

    client_id: str
    request_id: str | None = None


class _Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all changes may have."""

    origin: Origin | None = None


class OpenAsk(msgspec.Struct, frozen=True, kw_only=True):
    """An ask that has no answer in the log yet.

    Attributes:
        stream_id: The stream of its answer.
        client_id: Who asked.
        model_id: The model that answers.
        seq: The ask's entry, 0 for a continuation, which has none.
    """

    stream_id: str
    client_id: str
    model_id: str
    seq: int = 0


class Entered(_Change, frozen=True, tag="entered"):
    """A user came in with a first client, ``origin``'s."""

    member: Member
    participants: int


class Left(_Change, frozen=True, tag="left"):
    """A user is out, with all clients that were left of it."""

    user_key: str
    user_id: str
    client_ids: tuple[str, ...]  # not empty, the last one last
    participants: int
    reason: str
    member: Member  # as it was


class Stated(_Change, frozen=True, tag="stated"):
    """A member's presence state, or name, is another one."""

    member: Member
    participants: int


class Logged(_Change, frozen=True, tag="logged"):
    """The log has another entry: what somebody said, or the answer to an ask."""

    entry: RoomEntry


class Asked(_Change, frozen=True, tag="asked"):
    """Somebody asks the model. ``steered`` are the streams that make way for it."""

    ask: OpenAsk
    entry: RoomEntry | None = None  # None: an answer goes on, nothing was said
    steered: tuple[str, ...] = ()


class Configured(_Change, frozen=True, tag="configured"):
    """The settings are these now, all of them."""

    settings: RoomSettings
    by: str  # userId


class Ranked(_Change, frozen=True, tag="ranked"):
    """A user, there or not, has another role; None: it is banned."""

    user_key: str
    user_id: str
    role: Role | None
    by: str  # userId, or "server" where ownership was handed on


class Withdrawn(_Change, frozen=True, tag="withdrawn"):
    """An ask has no answer and will get none: the process that accepted it died too early."""

    stream_id: str


class Broken(_Change, frozen=True, tag="broken"):
    """The store has lost what was told, or what is to be told.

    Nothing more is told of the room to this process: who sits there has to enter anew.
    """


Change = Entered | Left | Stated | Logged | Asked | Configured | Ranked | Withdrawn | Broken
"""In the order in which they took place; ``seq`` of entries has no gaps in it."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry before it has its place in the log."""

    role: str
    client_id: str
    user_id: str
    name: str
    text: str
    data: Any = None
    stream_id: str | None = None
    continues: str | None = None  # of an answer: the stream that it goes on with
