"""Events about sessions."""

from __future__ import annotations

from typing import Any

from wsserver_protocol.events.base import Part, ServerMessage
from wsserver_protocol.fields import ExportFormat
from wsserver_protocol.lifecycle import FinishReason


class SessionInfo(Part, frozen=True, kw_only=True):
    """A session.

    Attributes:
        session_id: Its id.
        title: Its title, null while it has none.
        created_at: When it was made, milliseconds since the epoch.
        updated_at: When it last changed, milliseconds since the epoch.
        message_count: How many messages it has, over all branches.
        system_prompt: Its system prompt, null if it has none.
        model: Model of its turns, null for the server's default.
        owner: Whose it is.
        metadata: What the client keeps with it.
    """

    session_id: str
    title: str | None
    created_at: int
    updated_at: int
    message_count: int
    system_prompt: str | None
    model: str | None
    owner: str
    metadata: dict[str, Any] | None = None


class HistoryMessage(Part, frozen=True, kw_only=True):
    """A message of a session's tree.

    Attributes:
        message_id: Its id.
        parent_id: The message before it, null for the first of a conversation.
        role: Who speaks.
        content: What is said.
        timestamp: When, in milliseconds since the epoch.
        author_id: Who wrote it.
        model: Model that answered.
        tokens: Tokens of the answer.
        finish_reason: Why the answer ended; ``stopped`` and ``error``: it is cut short.
        stream_id: While the answer is being made: the stream that makes it, to be watched.
    """

    message_id: str
    parent_id: str | None
    role: str
    content: str
    timestamp: int
    author_id: str | None = None
    model: str | None = None
    tokens: int | None = None
    finish_reason: FinishReason | None = None
    stream_id: str | None = None


class SessionOpened(ServerMessage, frozen=True, kw_only=True, tag="session_opened"):
    """Answer to ``open_session`` and ``fork_session``.

    Attributes:
        session: The session.
    """

    session: SessionInfo


class SessionsList(ServerMessage, frozen=True, kw_only=True, tag="sessions_list"):
    """Answer to ``list_sessions``.

    Attributes:
        sessions: A page of them, last used first.
        next_cursor: Cursor of the next page; absent: this is the last one.
    """

    sessions: tuple[SessionInfo, ...]
    next_cursor: str | None = None


class History(ServerMessage, frozen=True, kw_only=True, tag="history"):
    """Answer to ``get_history``.

    Attributes:
        session_id: The session.
        messages: A page of one branch, oldest first.
        has_more: Whether there are older ones.
    """

    session_id: str
    messages: tuple[HistoryMessage, ...]
    has_more: bool


class SessionUpdated(ServerMessage, frozen=True, kw_only=True, tag="session_updated"):
    """Answer to ``update_session``.

    Attributes:
        session: The session as it is now.
    """

    session: SessionInfo


class HistoryCleared(ServerMessage, frozen=True, kw_only=True, tag="history_cleared"):
    """Answer to ``clear_history``.

    Attributes:
        session_id: The session.
    """

    session_id: str


class SessionDeleted(ServerMessage, frozen=True, kw_only=True, tag="session_deleted"):
    """Answer to ``delete_session``.

    Attributes:
        session_id: The session.
    """

    session_id: str


class ExportedSession(Part, frozen=True, kw_only=True):
    """A session as a document, or one page of it; ``import_session`` takes it back.

    Attributes:
        title: Its title.
        system_prompt: Its system prompt.
        model: Model of its turns.
        metadata: What the client kept with it.
        messages: Its messages, each after its parent.
    """

    title: str | None = None
    system_prompt: str | None = None
    model: str | None = None
    metadata: dict[str, Any] | None = None
    messages: tuple[HistoryMessage, ...]


class SessionExport(ServerMessage, frozen=True, kw_only=True, tag="session_export"):
    """Answer to ``export_session``: one page.

    Attributes:
        session_id: The session.
        format: ``json`` or ``markdown``.
        data: With ``json``: the document.
        text: With ``markdown``: the document.
        next_cursor: Cursor of the next page; absent: this is the last one.
    """

    session_id: str
    format: ExportFormat
    data: ExportedSession | None = None
    text: str | None = None
    next_cursor: str | None = None


class SessionImported(ServerMessage, frozen=True, kw_only=True, tag="session_imported"):
    """Answer to ``import_session``.

    Attributes:
        session: The session.
    """

    session: SessionInfo
