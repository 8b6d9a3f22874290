"""Entering rooms, talking in them, looking at them."""

from __future__ import annotations

import msgspec

from wsserver.core.clients import Client
from wsserver.core.rooms import MEMBERS_SHOWN, Room
from wsserver.gateway.connection import Connection
from wsserver.gateway.dispatch import Call, Reply
from wsserver.gateway.repeats import once
from wsserver_protocol import events, requests
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.requests import RoomPosition, RoomSettings

Position = int | RoomPosition | None


def join_room(call: Call) -> Reply:
    """Enter a room, or learn again what it looks like. Running answers follow as snapshots."""
    request: requests.JoinRoom = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    _check_bounds(connection, request.room_id)
    room = services.rooms.join(client, request.room_id, name=request.name, state=request.state)
    connection.send(joined(room, client, request.last_seq, request_id=call.request_id))
    watch_room(connection, room)
    return None


def leave_room(call: Call) -> Reply:
    """Leave a room: the named one, or the one joined last."""
    request: requests.LeaveRoom = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    if request.room_id is None and not client.room_ids:
        raise WireError(ErrorCode.NOT_IN_ROOM, "You are in no room.")
    room = services.rooms.of_member(client, request.room_id or client.room_ids[-1])
    for stream_id in room.streams:
        connection.close_view(stream_id)
    services.rooms.leave(client, room, "left")
    return events.RoomLeft(request_id=call.request_id, room_id=room.room_id)


def room_message(call: Call) -> Reply:
    """Say something to everyone in a room. The sender's copy has the requestId."""
    request: requests.RoomMessage = call.request
    connection = call.connection
    services, client = connection.services, connection.client
    room = services.rooms.of_member(client, request.room_id)

    def begin() -> events.RoomEntryEvent:
        entry = room.append(
            role="user",
            client_id=client.client_id,
            user_id=client.identity.user_id,
            name=client.display_name,
            text=request.text or "",
            data=request.data,
        )
        event = entry_event(room, entry)
        room.announce(event, besides=client)
        return event

    event = once(call, events.RoomEntryEvent, begin)
    return msgspec.structs.replace(event, request_id=call.request_id)


def update_presence(call: Call) -> Reply:
    """Tell all how one is there (typing, away); the caller's copy has its requestId."""
    request: requests.UpdatePresence = call.request
    services, client = call.connection.services, call.connection.client
    room = services.rooms.of_member(client, request.room_id)
    member = services.rooms.update_presence(client, room, request.state)
    event = events.RoomPresence(room_id=room.room_id, member=member.describe())
    room.announce(event, besides=client)
    return msgspec.structs.replace(event, request_id=call.request_id)


def room_history(call: Call) -> Reply:
    """A page of a room's log."""
    request: requests.RoomHistory = call.request
    room = call.connection.services.rooms.of_member(call.connection.client, request.room_id)
    messages, has_more = room.page(request.before, request.limit or ENTRIES_PER_PAGE)
    return events.RoomHistoryPage(
        request_id=call.request_id,
        room_id=room.room_id,
        messages=tuple(messages),
        has_more=has_more,
    )


def list_rooms(call: Call) -> Reply:
    """A page of the rooms that there are."""
    request: requests.ListRooms = call.request
    rooms = sorted(call.connection.services.rooms.all(), key=lambda room: room.room_id)
    if request.cursor is not None:
        rooms = [room for room in rooms if room.room_id > request.cursor]
    limit = request.limit or ROOMS_PER_PAGE
    page = rooms[:limit]
    return events.RoomsList(
        request_id=call.request_id,
        rooms=tuple(
            events.RoomSummary(room_id=room.room_id, title=None, participants=len(room.members))
            for room in page
        ),
        next_cursor=page[-1].room_id if len(rooms) > limit else None,
    )


ROOMS_PER_PAGE = 100
ENTRIES_PER_PAGE = 50


def joined(
    room: Room, client: Client, position: Position, *, request_id: str | None
) -> events.RoomJoined:
    """What a room looks like to one of its members."""
    epoch, last_seq = None, position
    if isinstance(position, RoomPosition):
        epoch, last_seq = position.epoch, position.seq
    assert not isinstance(last_seq, RoomPosition)
    recovered, messages = room.since(last_seq, epoch)
    members = list(room.members.values())[:MEMBERS_SHOWN]
    me = room.members[client.identity.key]
    return events.RoomJoined(
        request_id=request_id,
        room_id=room.room_id,
        participants=len(room.members),
        members=tuple(member.describe() for member in members),
        epoch=room.epoch,
        seq=room.seq,
        recovered=recovered,
        messages=tuple(messages),
        active_streams=tuple(
            events.ActiveStream(
                stream_id=answer.stream_id,
                client_id=answer.ask.client_id,
                model=answer.record.model_id,
                state=answer.record.state,
                offset=len(answer.record.transcript),
            )
            for answer in room.streams.values()
        ),
        role=me.role,
        settings=RoomSettings(),
    )


def watch_room(connection: Connection, room: Room) -> None:
    """Follow the answers that a room is getting, from their beginnings."""
    for answer in room.streams.values():
        if connection.view_of(answer.stream_id) is None:
            connection.watch(answer)


def entry_event(room: Room, entry: events.RoomEntry) -> events.RoomEntryEvent:
    """A log entry as it is made, for everyone."""
    return events.RoomEntryEvent(
        room_id=room.room_id,
        seq=entry.seq,
        message_id=entry.message_id,
        role=entry.role,
        client_id=entry.client_id,
        user_id=entry.user_id,
        name=entry.name,
        text=entry.text,
        data=entry.data,
        stream_id=entry.stream_id,
        timestamp=entry.timestamp,
    )


def _check_bounds(connection: Connection, room_id: str) -> None:
    services, client = connection.services, connection.client
    policy = services.policy
    if room_id not in client.room_ids and len(client.room_ids) >= policy.max_rooms_per_client:
        raise WireError(
            ErrorCode.INVALID_PARAMETERS,
            f"A client may be in at most {policy.max_rooms_per_client} rooms.",
            details=(FieldError(field="roomId", message="one room too many; leave one first"),),
        )
    if services.rooms.get(room_id) is None and len(services.rooms) >= policy.max_rooms:
        raise WireError(ErrorCode.OVERLOADED, "This server holds no more rooms.", retry_after=1000)
