"""Sessions and messages as Redis keeps them, and back."""

from __future__ import annotations

import json
from typing import Any

from wsserver.core.sessions.model import Message, Session
from wsserver_protocol.lifecycle import FinishReason


def session_fields(session: Session) -> list[Any]:
    """Fields and values of a session's hash; what is None is left out."""
    fields: dict[str, Any] = {
        "user_id": session.user_id,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "title": session.title or None,
        "system_prompt": session.system_prompt or None,
        "model": session.model or None,
        "metadata": metadata_text(session.metadata),
        "is_ephemeral": "1" if session.is_ephemeral else None,
    }
    return [part for item in fields.items() if item[1] is not None for part in item]


def session_of(owner: str, session_id: str, reply: list[Any]) -> Session:
    """A session from what ``described()`` of the scripts returns."""
    _, flat, count, size, newest = reply
    pairs = dict(zip(flat[::2], flat[1::2], strict=True))
    fields = {name.decode(): value.decode() for name, value in pairs.items()}
    metadata = fields.get("metadata")
    return Session(
        owner=owner,
        session_id=session_id,
        user_id=fields["user_id"],
        created_at=int(fields["created_at"]),
        updated_at=int(fields["updated_at"]),
        title=fields.get("title"),
        system_prompt=fields.get("system_prompt"),
        model=fields.get("model"),
        metadata=None if metadata is None else json.loads(metadata),
        message_count=count,
        size=int(size),
        newest=newest.decode() or None,
        is_ephemeral=fields.get("is_ephemeral") == "1",
    )


def message_fields(message: Message) -> list[Any]:
    """Size, head, content and stream of a message, as the scripts take them."""
    content = message.content.encode()
    head: dict[str, Any] = {
        "role": message.role,
        "timestamp": message.timestamp,
        "author_id": message.author_id,
        "model": message.model,
        "tokens": message.tokens,
        "finish_reason": None if message.finish_reason is None else message.finish_reason.value,
        "stream_id": message.stream_id,
        "lease": message.lease,
        "asked": message.asked,
    }
    given = {name: value for name, value in head.items() if value is not None}
    return [len(content), json.dumps(given), content, message.stream_id or ""]


def message_of(row: list[bytes]) -> Message:
    """A message from a ``row()`` of the scripts."""
    message_id, parent_id, head, content = row
    fields = json.loads(head)
    reason = fields.get("finish_reason")
    return Message(
        message_id=message_id.decode(),
        parent_id=parent_id.decode() or None,
        role=fields["role"],
        content=content.decode(),
        timestamp=fields["timestamp"],
        author_id=fields.get("author_id"),
        model=fields.get("model"),
        tokens=fields.get("tokens"),
        finish_reason=None if reason is None else FinishReason(reason),
        stream_id=fields.get("stream_id"),
        lease=fields.get("lease"),
        asked=fields.get("asked"),
    )


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """A session's metadata as it is stored; None also for none at all."""
    return json.dumps(metadata, ensure_ascii=False) if metadata else None
