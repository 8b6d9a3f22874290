"""What members are told: a change's event, and what a room looks like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from wsserver.core.ask import Answer
from wsserver.core.rooms.broker import Joined, Position
from wsserver.core.rooms.changes import Entered, Left, OpenAsk, Ranked
from wsserver.core.rooms.digest import chunks
from wsserver.core.rooms.log import REPLAY_BYTES
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.lifecycle import StreamState
from wsserver_protocol.requests import RoomSettings

MEMBERS_BYTES = 256 * 1024
"""Members of one frame take at most so much as JSON, beside the log and the settings."""

ROOMS_BYTES = 512 * 1024
"""Rooms of one frame take at most so much as JSON: a frame is at most 1 MiB, with the streams."""


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


def active(ask: OpenAsk, answer: Answer | None) -> events.ActiveStream:
    """An answer that a room is getting. One that is not known here was asked for elsewhere at this
    very moment, and is about to be found."""
    return events.ActiveStream(
        stream_id=ask.stream_id,
        client_id=ask.client_id,
        model=ask.model_id if answer is None else answer.record.model_id,
        state=StreamState.QUEUED if answer is None else answer.record.state,
        offset=0 if answer is None else len(answer.record.transcript),
    )


def _left_for_members(seen: Joined) -> int:
    """Bytes of a frame that members may take, where one entry of the log takes more than usual."""
    if len(seen.entries) != 1:
        return MEMBERS_BYTES
    spare = max(0, len(encode(seen.entries[0], Encoding.JSON)) - REPLAY_BYTES)
    return max(0, MEMBERS_BYTES - spare)


def as_fit(
    rooms: Iterable[events.RoomJoined], has: Mapping[str, Position | None]
) -> tuple[list[events.RoomJoined], list[events.RoomJoined]]:
    """Rooms for one frame, and those of them that are to follow, each in a frame of its own.

    What does not fit is there as if nothing had happened: at the seq that the client ``has``, so
    that what follows joins to that.
    """
    left, told, later = ROOMS_BYTES, [], []
    for room in rooms:
        size = len(encode(room, Encoding.JSON))
        if size <= left:
            left -= size
            told.append(room)
            continue
        later.append(room)
        position = has.get(room.room_id) if room.recovered else None
        told.append(
            msgspec.structs.replace(
                room,
                members=(),
                seq=0 if position is None else position.seq,
                messages=(),
                active_streams=(),
                settings=RoomSettings(),
            )
        )
    return told, later


def joined(
    room_id: str,
    seen: Joined,
    active_streams: Iterable[events.ActiveStream],
    *,
    request_id: str | None = None,
) -> events.RoomJoined:
    """What a room looks like to one of its members, with the answers that it is getting."""
    return events.RoomJoined(
        request_id=request_id,
        room_id=room_id,
        participants=seen.participants,
        members=next(chunks(seen.members, _left_for_members(seen)), ()),
        epoch=seen.epoch,
        seq=seen.seq,
        recovered=seen.recovered,
        messages=seen.entries,
        active_streams=tuple(active_streams),
        role=seen.role,
        settings=seen.settings,
    )
