"""Entering rooms, talking in them, looking at them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress

from wsserver.core.clients import Client
from wsserver.core.rooms import Origin, Position, shown
from wsserver.core.rooms.rights import require_voice
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.repeats import claim_of, once_done
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.requests import RoomPosition

Work = Coroutine[None, None, Reply]

ROOMS_PER_PAGE = 100
ENTRIES_PER_PAGE = 50


def in_lane(client: Client, work: Callable[[], Awaitable[Reply]]) -> Work:
    """Do a request after what this client asked of its rooms before, to its end."""
    return reply_of(client.lane.begin(work))


async def reply_of(task: asyncio.Task[Reply]) -> Reply:
    """What a client's work on rooms ends with. It goes on if the connection is lost meanwhile."""
    return await asyncio.shield(task)


def join_room(call: Call) -> Work:
    """Enter a room, or learn again what it looks like. Running answers follow as snapshots."""
    return in_lane(call.connection.client, lambda: _join(call))


async def _join(call: Call) -> Reply:
    request: requests.JoinRoom = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    most = services.policy.max_rooms_per_client
    if request.room_id not in client.room_ids and len(client.room_ids) >= most:
        raise WireError(
            ErrorCode.INVALID_PARAMETERS,
            f"A client may be in at most {most} rooms.",
            details=(FieldError(field="roomId", message="one room too many; leave one first"),),
        )
    client.joining = request.room_id
    try:
        # Before it is entered: from then on its news come, and its joining must come first.
        await services.clients.known(client)
        room, seen = await services.rooms.join(
            client,
            request.room_id,
            name=request.name,
            state=request.state,
            invite=request.invite,
            position=position(request.last_seq),
        )
    finally:
        client.joining = None
    active = services.rooms.active_in(room)
    connection.send(shown.joined(room.room_id, seen, active, request_id=call.request_id))
    services.rooms.follow(client, room)
    return None


def leave_room(call: Call) -> Work:
    """Leave a room: the named one, or the one joined last."""
    return in_lane(call.connection.client, lambda: _leave(call))


async def _leave(call: Call) -> Reply:
    request: requests.LeaveRoom = call.request
    services, client = call.connection.services, call.connection.client
    if request.room_id is None and not client.room_ids:
        raise WireError(ErrorCode.NOT_IN_ROOM, "You are in no room.")
    room = services.rooms.of_member(client, request.room_id or client.room_ids[-1])
    await services.rooms.leave(client, room, "left")
    with suppress(WireError):  # it has left, whoever knows
        await services.clients.known(client)
    return events.RoomLeft(request_id=call.request_id, room_id=room.room_id)


def room_message(call: Call) -> Work:
    """Say something to everyone in a room. The sender's copy has the requestId."""
    return in_lane(call.connection.client, lambda: _say(call))


async def _say(call: Call) -> Reply:
    request: requests.RoomMessage = call.request
    services, client = call.connection.services, call.connection.client
    is_told = False

    async def say() -> events.RoomEntryEvent:
        nonlocal is_told
        room = services.rooms.of_member(client, request.room_id)
        require_voice(room.role_of(client))
        entry, is_told = await services.rooms.say(
            *(client, room, request.text or "", request.data, origin(call)), claim_of(call)
        )
        return shown.entry(room.room_id, entry)

    event = await once_done(call, say, store_remembers=services.clients.is_shared)
    # The sender gets its copy where all get theirs, so that its log has the same order.
    return None if is_told else event


def update_presence(call: Call) -> Work:
    """Tell all how one is there (typing, away); the caller's copy has its requestId."""
    return in_lane(call.connection.client, lambda: _update_presence(call))


async def _update_presence(call: Call) -> Reply:
    request: requests.UpdatePresence = call.request
    services, client = call.connection.services, call.connection.client
    room = services.rooms.of_member(client, request.room_id)
    await services.rooms.set_state(client, room, request.state, origin(call))
    return None


def room_history(call: Call) -> Work:
    """A page of a room's log."""
    return in_lane(call.connection.client, lambda: _history(call))


async def _history(call: Call) -> Reply:
    request: requests.RoomHistory = call.request
    rooms = call.connection.services.rooms
    room = rooms.of_member(call.connection.client, request.room_id)
    messages, has_more = await rooms.broker.history(
        room.room_id, request.before, request.limit or ENTRIES_PER_PAGE
    )
    return events.RoomHistoryPage(
        request_id=call.request_id,
        room_id=room.room_id,
        messages=tuple(messages),
        has_more=has_more,
    )


def list_rooms(call: Call) -> Work:
    """A page of the rooms that the caller may see."""
    return in_lane(call.connection.client, lambda: _list(call))


async def _list(call: Call) -> Reply:
    request: requests.ListRooms = call.request
    services, client = call.connection.services, call.connection.client
    page, has_more = await services.rooms.broker.rooms(
        client.identity.key, request.cursor, request.limit or ROOMS_PER_PAGE
    )
    return events.RoomsList(
        request_id=call.request_id,
        rooms=tuple(page),
        next_cursor=page[-1].room_id if has_more else None,
    )


def origin(call: Call) -> Origin:
    """Whose request a change comes from."""
    return Origin(call.connection.client.client_id, call.request_id)


def position(given: int | RoomPosition | None) -> Position | None:
    """Up to where a client says that it has a log."""
    if given is None:
        return None
    if isinstance(given, RoomPosition):
        return Position(seq=given.seq, epoch=given.epoch)
    return Position(seq=given)
