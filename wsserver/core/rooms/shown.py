"""What members are told of a change: its event."""

from __future__ import annotations

from wsserver.core.rooms.changes import Entered, Left, Ranked
from wsserver_protocol import events


def entered(room_id: str, change: Entered) -> events.RoomUserJoined:
    """A user came."""
    (client_id,) = change.member.client_ids
    return events.RoomUserJoined(
        room_id=room_id,
        client_id=client_id,
        participants=change.participants,
        member=change.member,
    )


def left(room_id: str, change: Left) -> events.RoomUserLeft:
    """A user went, or was thrown out."""
    return events.RoomUserLeft(
        room_id=room_id,
        client_id=change.client_ids[-1],
        participants=change.participants,
        reason=change.reason,
        user_id=change.user_id,
    )


def ranked(room_id: str, change: Ranked) -> events.RoomRole:
    """A user has another role, or is banned."""
    return events.RoomRole(
        room_id=room_id,
        user_id=change.user_id,
        role="banned" if change.role is None else change.role.value,
        by=change.by,
    )


def entry(room_id: str, logged: events.RoomEntry) -> events.RoomEntryEvent:
    """Somebody said something."""
    return events.RoomEntryEvent(
        room_id=room_id,
        seq=logged.seq,
        message_id=logged.message_id,
        role=logged.role,
        client_id=logged.client_id,
        user_id=logged.user_id,
        name=logged.name,
        text=logged.text,
        data=logged.data,
        stream_id=logged.stream_id,
        continues=logged.continues,
        timestamp=logged.timestamp,
    )
