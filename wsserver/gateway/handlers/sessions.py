"""Requests about sessions, but for the answers given in them."""

from __future__ import annotations

from wsserver.core.sessions.library import Settings
from wsserver.core.sessions.model import Message, Session
from wsserver.core.sessions.turns import CUT_SHORT
from wsserver.core.wallclock import wall_ms
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.repeats import once_done
from wsserver_protocol import events, requests
from wsserver_protocol.fields import ExportFormat

HEADINGS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


async def open_session(call: Call) -> Reply:
    """Open a session, or make it."""
    request: requests.OpenSession = call.request
    connection = call.connection
    library, owner = connection.services.sessions.library, connection.client.identity

    async def work() -> events.SessionOpened:
        session = await library.open(owner, request.session_id, _settings(request))
        return events.SessionOpened(session=describe(session))

    opened = await once_done(call, work)
    connection.client.note_session(opened.session.session_id)
    return opened


async def list_sessions(call: Call) -> Reply:
    """A page of the caller's sessions."""
    request: requests.ListSessions = call.request
    page = await call.connection.services.sessions.library.list_sessions(
        _owner(call), cursor=request.cursor, limit=request.limit, query=request.query
    )
    return events.SessionsList(
        request_id=call.request_id,
        sessions=tuple(describe(session) for session in page.sessions),
        next_cursor=page.cursor,
    )


async def get_history(call: Call) -> Reply:
    """A page of one branch."""
    request: requests.GetHistory = call.request
    branch = await call.connection.services.sessions.library.history(
        _owner(call),
        request.session_id,
        before=request.before,
        limit=request.limit,
        branch=request.branch,
    )
    call.connection.client.note_session(request.session_id)
    return events.History(
        request_id=call.request_id,
        session_id=request.session_id,
        messages=tuple(_describe_message(message) for message in branch.messages),
        has_more=branch.has_more,
    )


async def update_session(call: Call) -> Reply:
    """Change title, system prompt, model or metadata."""
    request: requests.UpdateSession = call.request
    session = await call.connection.services.sessions.library.update(
        _owner(call), request.session_id, _settings(request)
    )
    return events.SessionUpdated(request_id=call.request_id, session=describe(session))


async def clear_history(call: Call) -> Reply:
    """Delete the messages."""
    request: requests.ClearHistory = call.request
    client = call.connection.client
    await call.connection.services.sessions.library.clear(
        _owner(call), request.session_id, client.client_id
    )
    return events.HistoryCleared(request_id=call.request_id, session_id=request.session_id)


async def fork_session(call: Call) -> Reply:
    """Copy a branch into a new session."""
    request: requests.ForkSession = call.request
    connection = call.connection
    documents, owner = connection.services.sessions.documents, connection.client.identity

    async def work() -> events.SessionOpened:
        session = await documents.fork(owner, request.session_id, request.message_id)
        return events.SessionOpened(session=describe(session))

    forked = await once_done(call, work)
    connection.client.note_session(forked.session.session_id)
    return forked


async def delete_session(call: Call) -> Reply:
    """Delete a session and stop what runs in it."""
    request: requests.DeleteSession = call.request
    client = call.connection.client
    await call.connection.services.sessions.library.delete(
        _owner(call), request.session_id, client.client_id
    )
    client.forget_session(request.session_id)
    return events.SessionDeleted(request_id=call.request_id, session_id=request.session_id)


async def export_session(call: Call) -> Reply:
    """A page of a session as a document."""
    request: requests.ExportSession = call.request
    documents = call.connection.services.sessions.documents
    is_json = request.format is ExportFormat.JSON
    read = documents.everything if is_json else documents.active_branch
    session, messages, cursor = await read(_owner(call), request.session_id, request.cursor)
    return events.SessionExport(
        request_id=call.request_id,
        session_id=request.session_id,
        format=request.format,
        data=_document(session, messages) if is_json else None,
        text=None if is_json else markdown(session, messages, is_first=request.cursor is None),
        next_cursor=cursor,
    )


async def import_session(call: Call) -> Reply:
    """Make a session of a document."""
    request: requests.ImportSession = call.request
    connection = call.connection
    data, owner = request.data, connection.client.identity
    documents = connection.services.sessions.documents
    settings = Settings(
        title=data.title,
        system_prompt=data.system_prompt,
        model=data.model,
        metadata=data.metadata,
    )
    messages = [_imported(message) for message in data.messages]

    async def work() -> events.SessionImported:
        session = await documents.take_in(owner, request.session_id, settings, messages)
        return events.SessionImported(session=describe(session))

    imported = await once_done(call, work)
    connection.client.note_session(imported.session.session_id)
    return imported


def describe(session: Session) -> events.SessionInfo:
    """A session as its owner sees it."""
    return events.SessionInfo(
        session_id=session.session_id,
        title=session.title,
        created_at=session.created_at,
        updated_at=session.updated_at,
        message_count=session.message_count,
        system_prompt=session.system_prompt,
        model=session.model,
        owner=session.user_id,
        metadata=session.metadata,
    )


def markdown(session: Session, messages: list[Message], *, is_first: bool) -> str:
    """A page of a session for people to read; the first one begins with the title."""
    parts = [f"# {session.title or 'Conversation'}\n"] if is_first else []
    if is_first and session.system_prompt:
        parts.append(f"## System\n\n{session.system_prompt}\n")
    for message in messages:
        cut = f" *({message.finish_reason})*" if message.finish_reason in CUT_SHORT else ""
        parts.append(f"## {HEADINGS.get(message.role, message.role)}{cut}\n\n{message.content}\n")
    text = "\n".join(parts)
    return text if is_first or not text else f"\n{text}"


def _owner(call: Call) -> str:
    return call.connection.client.identity.key


def _settings(request: requests.OpenSession | requests.UpdateSession) -> Settings:
    return Settings(
        title=request.title,
        system_prompt=request.system_prompt,
        model=request.model,
        metadata=request.metadata,
    )


def _document(session: Session, messages: list[Message]) -> events.ExportedSession:
    return events.ExportedSession(
        title=session.title,
        system_prompt=session.system_prompt,
        model=session.model,
        metadata=session.metadata,
        messages=tuple(_describe_message(message) for message in messages),
    )


def _describe_message(message: Message) -> events.HistoryMessage:
    return events.HistoryMessage(
        message_id=message.message_id,
        parent_id=message.parent_id,
        role=message.role,
        content=message.content,
        timestamp=message.timestamp,
        author_id=message.author_id,
        model=message.model,
        tokens=message.tokens,
        finish_reason=message.finish_reason,
        stream_id=message.stream_id if message.lease is not None else None,
    )


def _imported(message: requests.ImportedMessage) -> Message:
    return Message(
        message_id=message.message_id,
        parent_id=message.parent_id,
        role=message.role.value,
        content=message.content,
        timestamp=wall_ms() if message.timestamp is None else message.timestamp,
        author_id=message.author_id,
        model=message.model,
        tokens=message.tokens,
        finish_reason=message.finish_reason,
    )
