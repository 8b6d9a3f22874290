"""Stopping, interrupting and watching what runs."""

from __future__ import annotations

from collections.abc import Coroutine

from wsserver.core.ask import Answer
from wsserver.core.batches import Batch
from wsserver.core.rooms.rights import moderates
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason


def stop_stream(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """Stop a stream by its id, or a stream or `generate` by its requestId."""
    request: requests.StopStream = call.request
    connection = call.connection
    if request.stream_id is None:
        asked = _asked_as(connection, call.request_id)
        if asked is None and connection.services.clients.is_shared:
            return _stop_asked_elsewhere(call)
        return _stop(call, asked)
    answer = connection.services.answers.retained(request.stream_id)
    if answer is None:
        return _stop_found(call, request.stream_id)
    return _stop(call, answer)


async def _stop_found(call: Call, stream_id: str) -> Reply:
    """Stop a stream that nobody here has looked at yet."""
    return _stop(call, await call.connection.services.answers.find(stream_id))


async def _stop_asked_elsewhere(call: Call) -> Reply:
    """Stop by its requestId what another process has accepted."""
    connection = call.connection
    key = connection.client.identity.key
    return _stop(call, await connection.services.answers.made_before(key, call.request_id))


def _stop(call: Call, answer: Answer | None) -> Reply:
    connection = call.connection
    if answer is None or answer.record.is_ended:
        raise stream_not_found()
    reason = _stop_right(connection, answer)
    if reason is None:
        raise stream_not_found()  # what is not yours does not exist
    if not connection.follows(answer):
        # Its own terminal event is the reply, also here, where nobody followed it.
        answer.on_end.append(lambda ended: _tell_stopper(connection, ended, call.request_id))
    connection.services.answers.stop(answer, reason, connection.client.client_id)
    return None


def interrupt(call: Call) -> Reply:
    """Stop all that this client runs."""
    connection = call.connection
    services, client = connection.services, connection.client
    client_id = client.client_id
    stopped = [answer for answer in client.answers.values() if not answer.record.is_ended]
    batches = [batch for batch in client.batches.values() if not batch.is_ended]
    connection.send(
        events.Interrupted(
            request_id=call.request_id,
            stream_ids=tuple(answer.stream_id for answer in stopped if answer.is_stream),
            batch_ids=tuple(batch.batch_id for batch in batches),
        )
    )
    for answer in stopped:
        services.answers.stop(answer, StopReason.INTERRUPT, client_id)
    for batch in batches:
        services.batches.stop(batch, StopReason.INTERRUPT, client_id)
    return None


def watch_stream(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """Follow a stream from an offset: its owner anywhere, and members of its room."""
    request: requests.WatchStream = call.request
    connection = call.connection
    answer = connection.services.answers.retained(request.stream_id)
    if answer is None:
        return _watch_found(call)
    if not may_watch(connection, answer):
        raise stream_not_found()
    if request.from_offset > len(answer.record.transcript) and not answer.record.is_ended:
        return _watch_ahead(call, answer)
    connection.watch(answer, request_id=call.request_id, from_offset=request.from_offset)
    return None


async def _watch_found(call: Call) -> Reply:
    """Follow a stream that nobody here has looked at yet, or say where its text is kept."""
    request: requests.WatchStream = call.request
    connection = call.connection
    answer = await connection.services.answers.find(request.stream_id)
    if answer is None:
        return await _say_where_kept(connection, request.stream_id)
    if not may_watch(connection, answer):
        raise stream_not_found()
    return await _watch_ahead(call, answer)


async def _watch_ahead(call: Call, answer: Answer) -> Reply:
    """Follow a stream whose reader may have more of it than is known here."""
    request: requests.WatchStream = call.request
    connection = call.connection
    stands = await connection.services.answers.place(answer, request.from_offset)
    connection.watch(
        answer, request_id=call.request_id, from_offset=stands, has=request.from_offset
    )
    return None


async def _say_where_kept(connection: Connection, stream_id: str) -> Reply:
    """Refuse to show a stream that is gone, and name the session that keeps its text, if any."""
    owner = connection.client.identity.key
    kept = await connection.services.sessions.library.find_stream(owner, stream_id)
    raise stream_not_found() if kept is None else StreamKept(*kept)


def unwatch_stream(call: Call) -> Reply:
    """Follow a stream no longer; it goes on while its asker or anyone else is there."""
    request: requests.UnwatchStream = call.request
    connection = call.connection
    view = connection.view_of(request.stream_id)
    if view is None:
        raise stream_not_found()
    connection.close_view(request.stream_id)
    connection.services.departures.unfollowed(view.answer)
    return events.StreamUnwatched(request_id=call.request_id, stream_id=request.stream_id)


def may_watch(connection: Connection, answer: Answer) -> bool:
    """Whether the answer exists for this connection's user."""
    ask = answer.ask
    return answer.is_stream and (
        connection.client.asked_for(ask)
        or (ask.room_id is not None and ask.room_id in connection.client.room_ids)
    )


def _asked_as(connection: Connection, request_id: str) -> Answer | None:
    client = connection.client
    known = connection.services.idempotency.outcome(client.identity, request_id)
    if isinstance(known, Answer):
        return known
    # Asked before the client took the name that it has now.
    return next((a for a in client.answers.values() if a.request_id == request_id), None)


def batch_asked_as(connection: Connection, request_id: str) -> Batch | None:
    """The batch that this identity asked for under a requestId."""
    known = connection.services.idempotency.outcome(connection.client.identity, request_id)
    return known if isinstance(known, Batch) else None


def _stop_right(connection: Connection, answer: Answer) -> StopReason | None:
    """As what this connection may stop an answer; None if it may not."""
    client, ask = connection.client, answer.ask
    if client.asked_for(ask):
        return StopReason.CLIENT
    if ask.room_id is not None and ask.room_id in client.room_ids:
        room = connection.services.rooms.get(ask.room_id)
        if room is not None and moderates(room.role_of(client)):
            return StopReason.MODERATOR
    return None


def _tell_stopper(connection: Connection, answer: Answer, request_id: str) -> None:
    ending = answer.record.ending
    if ending is not None:
        connection.send_end(answer, ending, request_id=request_id)


class StreamKept(WireError):
    """The stream is gone, and its text stands in a session."""

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(
            ErrorCode.STREAM_NOT_FOUND,
            "The stream has ended some time ago; its text is in the session.",
        )
        self.session_id = session_id
        self.message_id = message_id


def stream_not_found() -> WireError:
    """The stream is unknown, ended, or someone else's: one answer for all three."""
    return WireError(
        ErrorCode.STREAM_NOT_FOUND, "There is no such stream, or it has ended, or it is not yours."
    )
