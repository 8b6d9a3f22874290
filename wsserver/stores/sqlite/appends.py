"""Writes to a session's messages, inside a transaction that is open already."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from wsserver.core.sessions.model import Bounds, Message
from wsserver.core.sessions.store import MessageNotFound, TakenUp, TooManySessions, TooMuchText
from wsserver.stores.sqlite.rows import columns_of

INSERT = """
    INSERT INTO messages (session, position, message_id, parent_id, role, content, size,
        timestamp, author_id, model, tokens, finish_reason, stream_id, lease, asked)
    VALUES (:session, :position, :message_id, :parent_id, :role, :content, :size,
        :timestamp, :author_id, :model, :tokens, :finish_reason, :stream_id, :lease, :asked)
"""

REVISE = """
    UPDATE messages SET content = :content, size = :size, model = :model, tokens = :tokens,
        finish_reason = :finish_reason, stream_id = :stream_id, lease = :lease, asked = :asked
    WHERE session = :session AND message_id = :message_id
"""


def append(
    db: sqlite3.Connection,
    session: sqlite3.Row,
    messages: Sequence[Message],
    bounds: Bounds,
    *,
    after_newest: bool,
    title: str | None,
) -> None:
    """Add what is not there yet.

    Raises:
        MessageNotFound: If a parent is not there.
        TooMuchText: If a cap on bytes would be passed.
    """
    key, position, size = session["id"], session["messages"], session["size"]
    newest = session["newest"]
    for index, message in enumerate(messages):
        if _has(db, key, message.message_id):
            continue
        parent = newest if after_newest and index == 0 else message.parent_id
        if parent is not None and not _has(db, key, parent):
            raise MessageNotFound(parent)
        db.execute(INSERT, columns_of(key, position, parent, message))
        position += 1
        size += message.size
    added = size - session["size"]
    if added:
        _check_size(db, session["owner"], size, added, bounds)
    db.execute(
        "UPDATE sessions SET messages = ?, size = ?, title = coalesce(title, ?) WHERE id = ?",
        (position, size, title, key),
    )


def revise(
    db: sqlite3.Connection,
    session: int,
    message: Message,
    used_at: int,
    instead_of: Collection[str] | None,
) -> None:
    """Write a message anew.

    Raises:
        MessageNotFound: If it is not there.
        TakenUp: If a stream that this one does not replace writes it.
    """
    row = db.execute(
        "SELECT size, stream_id, finish_reason FROM messages WHERE session = ? AND message_id = ?",
        (session, message.message_id),
    ).fetchone()
    if row is None:
        raise MessageNotFound(message.message_id)
    if instead_of is not None and row["stream_id"] not in (None, message.stream_id, *instead_of):
        raise TakenUp(message.message_id)
    has_ended = row["finish_reason"] is not None and message.finish_reason is None
    if has_ended and row["stream_id"] is not None and row["stream_id"] == message.stream_id:
        return
    db.execute(REVISE, columns_of(session, 0, None, message))
    db.execute(
        "UPDATE sessions SET size = size + ?, used_at = ? WHERE id = ?",
        (message.size - row["size"], used_at, session),
    )


def touch(db: sqlite3.Connection, session: int, now: int, used_at: int) -> None:
    """Note a change: the session goes to the head of its owner's list."""
    db.execute(
        "UPDATE sessions SET updated_at = ?, used_at = ?, touched = ? WHERE id = ?",
        (now, used_at, next_touch(db), session),
    )


def next_touch(db: sqlite3.Connection) -> int:
    """The number of the next change of all."""
    number: int = db.execute("SELECT coalesce(max(touched), 0) + 1 FROM sessions").fetchone()[0]
    return number


def check_count(db: sqlite3.Connection, owner: str, limit: int) -> None:
    """Refuse one more session of an owner who has ``limit``; 0: no limit.

    Raises:
        TooManySessions: In that case.
    """
    if not limit:
        return
    count = db.execute("SELECT count(*) FROM sessions WHERE owner = ?", (owner,)).fetchone()[0]
    if count >= limit:
        raise TooManySessions(limit)


def _has(db: sqlite3.Connection, session: int, message_id: str) -> bool:
    return (
        db.execute(
            "SELECT 1 FROM messages WHERE session = ? AND message_id = ?", (session, message_id)
        ).fetchone()
        is not None
    )


def _check_size(db: sqlite3.Connection, owner: str, size: int, added: int, bounds: Bounds) -> None:
    if bounds.max_session_bytes and size > bounds.max_session_bytes:
        raise TooMuchText(bounds.max_session_bytes, is_session=True)
    if not bounds.max_owner_bytes:
        return
    total = db.execute("SELECT sum(size) FROM sessions WHERE owner = ?", (owner,)).fetchone()[0]
    if total + added > bounds.max_owner_bytes:
        raise TooMuchText(bounds.max_owner_bytes, is_session=False)
