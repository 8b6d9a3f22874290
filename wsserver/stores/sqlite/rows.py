"""Rows of the file as sessions and messages, and back."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from wsserver.core.sessions.model import Message, Session
from wsserver_protocol.lifecycle import FinishReason

SESSION = """
    s.*, (SELECT message_id FROM messages m WHERE m.session = s.id
          ORDER BY position DESC LIMIT 1) AS newest
"""
"""The columns of a session ``s``."""


def session_of(row: sqlite3.Row) -> Session:
    """A session from the columns `SESSION`."""
    return Session(
        owner=row["owner"],
        session_id=row["session_id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        title=row["title"],
        system_prompt=row["system_prompt"],
        model=row["model"],
        metadata=None if row["metadata"] is None else json.loads(row["metadata"]),
        message_count=row["messages"],
        size=row["size"],
        newest=row["newest"],
        is_ephemeral=bool(row["is_ephemeral"]),
    )


def message_of(row: sqlite3.Row) -> Message:
    """A message from all columns of its table."""
    reason = row["finish_reason"]
    return Message(
        message_id=row["message_id"],
        parent_id=row["parent_id"],
        role=row["role"],
        content=row["content"],
        timestamp=row["timestamp"],
        author_id=row["author_id"],
        model=row["model"],
        tokens=row["tokens"],
        finish_reason=None if reason is None else FinishReason(reason),
        stream_id=row["stream_id"],
        lease=row["lease"],
        asked=row["asked"],
    )


def columns_of(session: int, position: int, parent_id: str | None, m: Message) -> dict[str, Any]:
    """A message as the columns of its table."""
    return {
        "session": session,
        "position": position,
        "message_id": m.message_id,
        "parent_id": parent_id,
        "role": m.role,
        "content": m.content,
        "size": m.size,
        "timestamp": m.timestamp,
        "author_id": m.author_id,
        "model": m.model,
        "tokens": m.tokens,
        "finish_reason": None if m.finish_reason is None else m.finish_reason.value,
        "stream_id": m.stream_id,
        "lease": m.lease,
        "asked": m.asked,
    }


def metadata_text(metadata: dict[str, Any] | None) -> str | None:
    """A session's metadata as it is stored; None also for none at all."""
    return json.dumps(metadata, ensure_ascii=False) if metadata else None


def sessions_after(db: sqlite3.Connection, touched: int) -> list[sqlite3.Row]:
    """The next sessions of all, in the order of their last changes."""
    return db.execute(
        f"SELECT {SESSION} FROM sessions s WHERE touched > ? ORDER BY touched LIMIT 100",
        (touched,),
    ).fetchall()


def within(rows: sqlite3.Cursor, max_bytes: int) -> list[Message]:
    """Messages from ``rows`` up to ``max_bytes`` of text, but at least one; 0: all."""
    found: list[Message] = []
    size = 0
    for row in rows:
        size += row["size"]
        if found and max_bytes and size > max_bytes:
            break
        found.append(message_of(row))
    return found
