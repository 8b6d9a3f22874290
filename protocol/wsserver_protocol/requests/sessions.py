"""Requests about sessions: conversations whose history the server keeps."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from wsserver_protocol.fields import ChatRole, Count, ExportFormat, Id, PageSize, Title
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.requests.base import MAX_MESSAGES, ClientMessage


class OpenSession(ClientMessage, frozen=True, kw_only=True, tag="open_session"):
    """Open a session, or create it if its id is unknown. Answered ``session_opened``.

    Attributes:
        session_id: Id of the session; left out, the server makes one.
        title: Title for lists; by default made from the first turn.
        system_prompt: System prompt of all its turns.
        model: Model of its turns that name none.
        metadata: Anything the client wants kept with it; at most 16 KiB as JSON.
    """

    session_id: Id | None = None
    title: Title | None = None
    system_prompt: str | None = None
    model: Id | None = None
    metadata: dict[str, Any] | None = None


class ListSessions(ClientMessage, frozen=True, kw_only=True, tag="list_sessions"):
    """List the caller's sessions, last used first. Answered ``sessions_list``.

    Attributes:
        cursor: ``nextCursor`` of the page before; left out: the first page.
        limit: Sessions a page, 1 to 200.
        query: Only sessions that contain this text.
    """

    cursor: Id | None = None
    limit: PageSize | None = None
    query: Title | None = None


class GetHistory(ClientMessage, frozen=True, kw_only=True, tag="get_history"):
    """Read a session's messages, oldest first. Answered ``history``.

    Attributes:
        session_id: The session.
        before: messageId before which the page ends; left out: the newest page.
        limit: Messages a page, 1 to 200.
        branch: messageId whose branch to read; left out: the active one.
    """

    session_id: Id
    before: Id | None = None
    limit: PageSize | None = None
    branch: Id | None = None


class UpdateSession(ClientMessage, frozen=True, kw_only=True, tag="update_session"):
    """Change what is given, leave the rest. Answered ``session_updated``.

    Attributes:
        session_id: The session.
        title: New title.
        system_prompt: New system prompt; an empty one removes it.
        model: New model of its turns.
        metadata: Replaces the metadata; at most 16 KiB as JSON.
    """

    session_id: Id
    title: Title | None = None
    system_prompt: str | None = None
    model: Id | None = None
    metadata: dict[str, Any] | None = None


class ClearHistory(ClientMessage, frozen=True, kw_only=True, tag="clear_history"):
    """Delete a session's messages and keep the session. Answered ``history_cleared``.

    Attributes:
        session_id: The session.
    """

    session_id: Id


class ForkSession(ClientMessage, frozen=True, kw_only=True, tag="fork_session"):
    """Copy a session up to a message into a new one. Answered ``session_opened``.

    Attributes:
        session_id: The session to copy.
        message_id: The last message to copy.
    """

    session_id: Id
    message_id: Id


class DeleteSession(ClientMessage, frozen=True, kw_only=True, tag="delete_session"):
    """Delete a session and stop its stream. Answered ``session_deleted``.

    Attributes:
        session_id: The session.
    """

    session_id: Id


class ExportSession(ClientMessage, frozen=True, kw_only=True, tag="export_session"):
    """Get a session as a document, page by page. Answered ``session_export``.

    Attributes:
        session_id: The session.
        format: ``json`` (can be imported again, all branches) or ``markdown`` (the active one).
        cursor: ``nextCursor`` of the page before; left out: the first page.
    """

    session_id: Id
    format: ExportFormat = ExportFormat.JSON
    cursor: Id | None = None


class ImportedMessage(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A message to import; what an export says of one.

    Attributes:
        message_id: Its id; a message that the session already has is skipped.
        parent_id: The message before it; null or absent for the first of a conversation.
        role: Who speaks.
        content: What is said.
        timestamp: When, in milliseconds since the epoch; default: now.
        author_id: Who wrote it.
        model: Model that answered.
        tokens: Tokens of the answer.
        finish_reason: Why the answer ended.
    """

    message_id: Id
    parent_id: Id | None = None
    role: ChatRole
    content: str
    timestamp: Count | None = None
    author_id: Id | None = None
    model: Id | None = None
    tokens: Count | None = None
    finish_reason: FinishReason | None = None


class SessionDocument(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """A session as a document, or one page of it.

    Attributes:
        title: Its title.
        system_prompt: Its system prompt.
        model: Model of its turns.
        metadata: What the client kept with it.
        messages: Its messages, each after its parent.
    """

    title: Title | None = None
    system_prompt: str | None = None
    model: Id | None = None
    metadata: dict[str, Any] | None = None
    messages: Annotated[tuple[ImportedMessage, ...], Meta(max_length=MAX_MESSAGES)] = ()


class ImportSession(ClientMessage, frozen=True, kw_only=True, tag="import_session"):
    """Make a session of an exported document. Answered ``session_imported``.

    A document that was exported in pages is imported in pages, too: the second and later ones
    name the sessionId of the first answer.

    Attributes:
        data: The ``data`` of a ``session_export`` in format ``json``.
        session_id: Session to import into, created if unknown; left out: a new one.
    """

    data: SessionDocument
    session_id: Id | None = None
