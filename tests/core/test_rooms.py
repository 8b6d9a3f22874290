"""Rooms without a socket: members count once, the log has no gaps, nobody stays behind."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.seats import make_client, make_rooms
from wsserver.core.rooms import Draft, Origin, Position
from wsserver.core.rooms.log import REPLAY_PAGE, replay
from wsserver.stores.memory.room_state import RoomState
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding
from wsserver_protocol.fields import Role


def say(room: RoomState, text: str) -> events.RoomEntry:
    """Append a message to a room's log."""
    return room.append(Draft(role="user", client_id="c", user_id="u", name="U", text=text), 0)


def count_told(event: events.Event) -> int | None:
    """The count of an event that tells of someone coming or leaving."""
    if isinstance(event, events.RoomUserJoined | events.RoomUserLeft):
        return event.participants
    return None


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 5), st.sampled_from(["r", "s"])),
    max_size=40,
)


@settings(max_examples=200)
@given(steps=steps)
def test_a_user_counts_once_whatever_tabs(steps: list[tuple[str, int, str]]) -> None:
    """Two tabs each of three users come and go: counts, roles and notices are always right."""
    asyncio.run(come_and_go(steps))


async def come_and_go(steps: list[tuple[str, int, str]]) -> None:
    """Play the steps, and compare after each."""
    rooms = make_rooms()
    clients = [make_client(("ada", "bob", "eve")[number // 2]) for number in range(6)]
    inside: dict[str, set[int]] = {"r": set(), "s": set()}
    for what, number, room_id in steps:
        client, _ = clients[number]
        users_before = {n // 2 for n in inside[room_id]}
        heard = {n: len(seat.events) for n, (_, seat) in enumerate(clients)}
        if what == "join":
            await rooms.join(client, room_id)
            inside[room_id].add(number)
        elif number in inside[room_id]:
            room = rooms.get(room_id)
            assert room is not None
            await rooms.leave(client, room, "left")
            inside[room_id].discard(number)
        users = {n // 2 for n in inside[room_id]}
        there = rooms.get(room_id)
        assert (there is None) is (not users)
        told = [n for n, (_, seat) in enumerate(clients) if len(seat.events) > heard[n]]
        if users != users_before and there is not None:
            others = inside[room_id] - {number}
            assert set(told) == (others if len(users_before) else set())
            for n in told:  # one notice each, and besides it the room may have a new owner
                news = [e for e in clients[n][1].events[heard[n] :] if count_told(e) is not None]
                assert [count_told(event) for event in news] == [len(users)]
        else:
            assert told == []
        if there is not None:
            assert len(there.roles) == len(users)
            assert set(there.clients) == {clients[n][0].client_id for n in inside[room_id]}
    for number, (client, _) in enumerate(clients):
        assert set(client.room_ids) == {r for r, numbers in inside.items() if number in numbers}


@given(
    entries=st.integers(0, 30),
    bound=st.integers(1, 20),
    last_seq=st.none() | st.integers(0, 40),
    epoch=st.sampled_from(["right", "wrong", "none"]),
)
def test_a_replay_is_all_or_the_newest_page(
    entries: int, bound: int, last_seq: int | None, epoch: str
) -> None:
    """What came after a seq comes whole; what can't be whole is the newest page, and says so."""
    room = RoomState("r", bound)
    for number in range(1, entries + 1):
        assert say(room, f"m{number}").seq == number
    told = {"right": room.epoch, "wrong": "another", "none": None}[epoch]
    position = None if last_seq is None else Position(seq=last_seq, epoch=told)
    recovered, messages = replay(room.entries, room.epoch, room.seq, position)
    seqs = [entry.seq for entry in messages]
    assert seqs == sorted(seqs)
    assert seqs == list(range(entries - len(seqs) + 1, entries + 1))
    if last_seq is None:
        assert recovered
        assert len(seqs) == min(entries, bound, REPLAY_PAGE)
    elif recovered:
        assert told in (None, room.epoch)
        assert len(seqs) == entries - last_seq
    else:
        is_kept = entries - bound <= last_seq <= entries
        assert not is_kept or told == "another"
        assert len(seqs) == min(entries, bound, REPLAY_PAGE)


def test_a_large_log_is_paged_by_bytes() -> None:
    """Entries of a quarter megabyte each: only as many as a frame holds, and no hole."""
    room = RoomState("r", 1000)
    for _ in range(10):
        say(room, "x" * 250_000)
    recovered, messages = replay(room.entries, room.epoch, room.seq, Position(seq=1))
    assert not recovered
    assert [entry.seq for entry in messages] == list(range(11 - len(messages), 11))
    assert 0 < sum(len(entry.text) for entry in messages) < 1024 * 1024


async def test_the_first_in_an_empty_room_owns_it() -> None:
    """Owner, member; and a new owner only with a new room."""
    rooms = make_rooms()
    (ada, _), (bob, _) = make_client("ada"), make_client("bob")
    _, first = await rooms.join(ada, "r")
    room, joined = await rooms.join(bob, "r", name="Robert", state={"x": 1})
    roles = {member.name: member.role for member in joined.members}
    assert roles == {"Ada": Role.OWNER, "Robert": Role.MEMBER}
    assert (first.role, joined.role) == (Role.OWNER, Role.MEMBER)
    await rooms.leave(ada, room, "left")
    await rooms.leave(bob, room, "left")
    assert len(rooms) == 0
    _, again = await rooms.join(bob, "r")
    assert again.role is Role.OWNER
    assert again.epoch != joined.epoch


async def test_one_encoding_serves_all() -> None:
    """However many are there, each event is encoded once for each encoding in use."""
    rooms = make_rooms()
    speaker, _ = make_client("ada")
    room, _ = await rooms.join(speaker, "r")
    seats = []
    for number in range(40):
        client, seat = make_client(f"u{number}", (Encoding.JSON, Encoding.MSGPACK)[number % 2])
        await rooms.join(client, "r")
        seats.append(seat)
    await rooms.say(speaker, room, "hello", None, Origin(speaker.client_id, "q"))
    for kind in (0, 1):
        first, *others = [seat.frames[-1] for seat in seats[kind::2]]
        assert all(frame is first for frame in others)
        assert b"hello" in first
