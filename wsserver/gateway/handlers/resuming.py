"""`resume`: a client's place taken up again, on this connection and on this process.

Where several processes share their clients the place may be another's. It is taken first, in one
step for all, and then looked up. Whatever comes in the way of the rest leaves the client away here,
within its window.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence

from wsserver.core.ask import Answer
from wsserver.core.clients import Client
from wsserver.core.rooms import Joined, Position, shown
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.handlers.rooms import in_lane, position, reply_of
from wsserver.gateway.handlers.streams import may_watch
from wsserver_protocol import events, requests
from wsserver_protocol.errors import CloseCode, ErrorCode, WireError
from wsserver_protocol.lifecycle import StreamState

LOOK_UP_WITHIN, MAX_LOOKED_UP = 1.0, 20
"""Seconds, and streams, for saying at a resume where the text of streams is kept that are gone."""


def resume(call: Call) -> Reply | Coroutine[None, None, Reply]:
    """Take a client's place up again: its id, rooms and streams, to the byte."""
    request: requests.Resume = call.request
    services = call.connection.services
    if services.clients.is_shared:
        return in_lane(call.connection.client, lambda: _resume_from_anywhere(call))
    unknown = [
        stream_id
        for stream_id in request.streams or ()
        if services.answers.retained(stream_id) is None
    ]
    client = services.clients.find(request.resume_token)
    if client is None:
        return _resume(call, {}, {})
    if unknown or client.room_ids or not client.lane.is_idle:
        newcomer = call.connection.client
        resumed = client.lane.begin(lambda: _resume_knowing(call, client, unknown))
        if newcomer is not client:  # what was sent behind the resume counts on it
            newcomer.lane.begin(lambda: asyncio.wait({resumed}))
        return reply_of(resumed)
    return _resume(call, {}, {})


async def _resume_from_anywhere(call: Call) -> Reply:
    """Resume a client that may have been another process's, with all that it had there."""
    request: requests.Resume = call.request
    services = call.connection.services
    client = await services.clients.recall(request.resume_token)
    if client is None:
        return _resume(call, {}, {})
    try:
        return await _resume_recalled(call, client)
    finally:
        if client.connection is None and services.clients.get(client.client_id) is client:
            services.clients.detach(client)  # it did not come so far: its window begins


async def _resume_recalled(call: Call, client: Client) -> Reply:
    """Resume a client that is this process's now: its answers and places are looked up first."""
    request: requests.Resume = call.request
    services = call.connection.services
    gone: list[str] = []
    asked = request.streams or {}
    for stream_id in dict.fromkeys((*asked, *client.stream_ids)):
        answer = await services.answers.find(stream_id)
        if answer is None:
            gone.append(stream_id)
        elif stream_id in client.stream_ids and not answer.record.is_ended:
            client.begin(answer)
    for stream_id, offset in asked.items():
        answer = services.answers.retained(stream_id)
        if answer is not None and offset > len(answer.record.transcript):
            await services.answers.place(answer, offset)  # it may have more than is known here
    client.stream_ids = ()
    if client is call.connection.client:  # this is its lane already
        return await _resume_knowing(call, client, gone)
    return await in_lane(client, lambda: _resume_knowing(call, client, gone))


async def _resume_knowing(call: Call, client: Client, gone: list[str]) -> Reply:
    """Resume, having looked first where the text of gone streams is kept, and at the rooms."""
    services = call.connection.services
    kept: dict[str, tuple[str, str]] = {}
    with contextlib.suppress(TimeoutError):  # to be back soon matters more than to know all
        async with asyncio.timeout(LOOK_UP_WITHIN):
            for stream_id in gone[:MAX_LOOKED_UP]:
                found = await services.sessions.library.find_stream(client.identity.key, stream_id)
                if found is not None:
                    kept[stream_id] = found
    if not call.connection.is_open:
        return None  # lost meanwhile; its seats are perhaps another process's by now
    return _resume(call, kept, await services.rooms.look_again(client, _positions(call)))


def _positions(call: Call) -> dict[str, Position | None]:
    """Up to where the client says that it has its rooms' logs."""
    return {room_id: position(seq) for room_id, seq in (call.request.rooms or {}).items()}


def _rooms(call: Call, client: Client, seen: Mapping[str, Joined]) -> list[events.RoomJoined]:
    rooms = call.connection.services.rooms
    return [
        shown.joined(room_id, seen[room_id], rooms.active_in(room))
        for room_id in client.room_ids
        if room_id in seen and (room := rooms.get(room_id)) is not None
    ]


def _resume(call: Call, kept: Mapping[str, tuple[str, str]], seen: Mapping[str, Joined]) -> Reply:
    request: requests.Resume = call.request
    connection = call.connection
    services = connection.services
    if not connection.is_open:
        return None  # it comes again, with the same token
    client = services.clients.find(request.resume_token)
    if client is None:
        services.telemetry.resume_answered("expired")
        raise WireError(
            ErrorCode.RESUME_EXPIRED,
            "This token is unknown, used up, or its window is over; go on as a new client.",
        )
    token = services.clients.redeem(request.resume_token)
    _take_place(connection, client)
    services.telemetry.resume_answered("resumed")
    rooms, later = shown.as_fit(_rooms(call, client, seen), _positions(call))
    connection.send(_resumed(call, client, token, kept, rooms))
    for joined in later:
        connection.send(joined)
    for stream_id, offset in (request.streams or {}).items():
        answer = services.answers.retained(stream_id)
        if answer is not None and may_watch(connection, answer):
            have = len(answer.record.transcript)
            if services.clients.is_shared and offset > have:
                connection.watch(answer, from_offset=have, has=offset)
            else:
                connection.watch(answer, from_offset=offset)
    for answer in list(client.answers.values()):
        if not answer.is_stream and answer.request_id is not None:
            connection.await_generation(answer, request_id=answer.request_id)
    for room_id in client.room_ids:
        room = services.rooms.get(room_id)
        if room is not None:
            services.rooms.follow(client, room)
    return None


def _take_place(connection: Connection, client: Client) -> None:
    """Put the client that resumes on this connection, in place of the one it began with."""
    services = connection.services
    newcomer = connection.client
    if client is newcomer:
        return
    older = services.clients.attach(client, connection)
    connection.client = client
    for answer in list(newcomer.answers.values()):  # asked before the resume, on this connection
        del newcomer.answers[answer.stream_id]
        client.begin(answer)
    for batch in list(newcomer.batches.values()):
        del newcomer.batches[batch.batch_id]
        services.clients.begin_batch(client, batch)
    newcomer.connection = None
    services.clients.forget(newcomer)
    if older is not None:
        older.close(CloseCode.RESUMED_ELSEWHERE, "resumed on another connection")


def _resumed(
    call: Call,
    client: Client,
    token: str,
    kept: Mapping[str, tuple[str, str]],
    rooms: Sequence[events.RoomJoined],
) -> events.Resumed:
    request: requests.Resume = call.request
    connection = call.connection
    services = connection.services
    asked = request.streams or {}
    streams = [
        _stream_status(connection, stream_id, services.answers.retained(stream_id), kept)
        for stream_id in asked
    ]
    streams += [
        _stream_status(connection, answer.stream_id, answer, kept)
        for answer in client.answers.values()
        if answer.is_stream and answer.stream_id not in asked
    ]
    return events.Resumed(
        request_id=call.request_id,
        client_id=client.client_id,
        resume_token=token,
        streams=tuple(streams),
        rooms=tuple(rooms),
    )


def _stream_status(
    connection: Connection,
    stream_id: str,
    answer: Answer | None,
    kept: Mapping[str, tuple[str, str]],
) -> events.ResumedStream:
    if answer is None or not may_watch(connection, answer):
        session_id, message_id = kept.get(stream_id, (None, None))
        return events.ResumedStream(
            stream_id=stream_id,
            request_id=None,
            state=StreamState.GONE,
            offset=0,
            session_id=session_id,
            message_id=message_id,
        )
    is_asker = answer.ask.client_id == connection.client.client_id
    place = answer.place
    return events.ResumedStream(
        stream_id=stream_id,
        request_id=answer.request_id if is_asker else None,
        state=answer.record.state,
        offset=len(answer.record.transcript),
        session_id=place.session_id if place is not None else None,
        message_id=place.message_id if place is not None else None,
    )
