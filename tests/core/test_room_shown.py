"""What a room looks like to one who enters, in a frame that is never larger than 1 MiB."""

from __future__ import annotations

import pytest

from wsserver.core.rooms import shown
from wsserver.core.rooms.broker import Joined, Position
from wsserver.core.rooms.log import replay
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.events import Member, RoomEntry
from wsserver_protocol.fields import Role
from wsserver_protocol.requests import RoomSettings

FRAME = 1 << 20


def entry(seq: int, size: int) -> RoomEntry:
    """Something that was said, of so many bytes."""
    return RoomEntry(
        seq=seq,
        message_id="m",
        role="assistant",
        client_id="server",
        user_id="m",
        name="m",
        text="x" * size,
        timestamp=0,
    )


def member(number: int) -> Member:
    """Somebody with as large a state as one may have."""
    state = {"s": "x" * 8000}
    return Member(user_id=f"u{number}", name="n", role=Role.MEMBER, state=state, client_ids=("c",))


def seen(*sizes: int) -> Joined:
    """A full room in whose log entries of these sizes stand."""
    entries = [entry(seq, size) for seq, size in enumerate(sizes, 1)]
    recovered, told = replay(entries, "ep", len(entries), None)
    return Joined(
        epoch="ep",
        seq=len(entries),
        recovered=recovered,
        entries=tuple(told),
        participants=100,
        members=tuple(map(member, range(100))),
        role=Role.MEMBER,
        settings=RoomSettings(system_prompt="x" * 65_000),
        open_asks=(),
    )


@pytest.mark.parametrize("sizes", [(700_000,), (200_000, 250_000, 250_000), (10,) * 200])
def test_a_room_fits_a_frame(sizes: tuple[int, ...]) -> None:
    """A long answer takes its place from the members that are listed; all are counted."""
    event = shown.joined("r", seen(*sizes), ())
    assert len(encode(event, Encoding.JSON)) < FRAME
    assert event.messages
    assert 1 <= len(event.members) < 100
    assert event.participants == 100


def test_rooms_that_do_not_fit_follow() -> None:
    """They are listed as the client has them: at its seq where that joins, else as nothing."""
    rooms = [shown.joined(name, seen(300_000), ()) for name in "abc"]
    told, later = shown.as_fit(rooms, {"b": Position(seq=1)})
    assert [room.room_id for room in told] == ["a", "b", "c"]
    assert later == rooms
    assert [(room.seq, room.messages, room.members) for room in told] == [
        (0, (), ()),
        (1, (), ()),
        (0, (), ()),
    ]
    small = [shown.joined(name, seen(10), ()) for name in "a"]
    assert shown.as_fit(small, {}) == (small, [])
