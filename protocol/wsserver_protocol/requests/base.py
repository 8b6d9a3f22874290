"""What all requests share, and the parts that several of them are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from wsserver_protocol.fields import ChatRole, Count, Id, Name
from wsserver_protocol.tools import MAX_TOOL_CALLS, ToolCall


class ClientMessage(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    rename="camel",
    omit_defaults=True,
):
    """Base of every message of a client.

    Attributes:
        request_id: The client's own id for this request; every reply carries it. Left out, the
            server makes one and remembers nothing under it.
    """

    request_id: Id | None = None


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One turn of a conversation; the model's own chat template renders it.

    Attributes:
        role: Who speaks: ``system``, ``user``, ``assistant`` or ``tool``.
        content: What is said; may be empty.
        name: Name of the speaker, for templates that show it.
        tool_calls: Of an assistant's turn: the calls that it made, as its result told them.
        tool_call_id: Of a tool's turn: id of the call whose result ``content`` is.
    """

    role: ChatRole
    content: str
    name: Name | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], Meta(max_length=MAX_TOOL_CALLS)] = ()
    tool_call_id: Id | None = None


class RoomPosition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far a client has read a room's log.

    Attributes:
        epoch: The ``epoch`` of ``room_joined``; a log begun anew has another one.
        seq: The last ``seq`` that the client has, 0 for none.
    """

    epoch: Id
    seq: Count


MAX_MESSAGES = 10_000
"""Most turns of a conversation; far more than a context holds, few enough to look at in passing."""

Messages = Annotated[tuple[ChatMessage, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
"""A conversation, oldest turn first; never empty."""

LogPosition = Count | RoomPosition
"""Last ``seq`` alone, or with the epoch that it belongs to (safer: a restarted log is seen)."""
