"""Rooms without a socket: members count once, the log has no gaps, nobody stays behind."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsserver.core.ask import Answer
from wsserver.core.clients import Client
from wsserver.core.identity import Identity
from wsserver.core.rooms import REPLAY_PAGE, Room, Rooms
from wsserver_protocol import events
from wsserver_protocol.errors import CloseCode
from wsserver_protocol.fields import Role


class Seat:
    """A client's connection that keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def send(self, event: events.Event) -> None:
        self.events.append(event)

    def show_stream(self, answer: Answer, prompt: str | None) -> None:
        raise AssertionError("no stream is asked for here")

    def close_view(self, stream_id: str) -> bool:
        return False

    def close(self, code: CloseCode, reason: str = "") -> None:
        raise AssertionError("nobody is closed here")


def make_client(user: str) -> tuple[Client, Seat]:
    """A client of a user, with a connection."""
    client, seat = Client("127.0.0.1"), Seat()
    client.identity = Identity.named(user, user.title(), "127.0.0.1")
    client.connection = seat
    return client, seat


def make_rooms(log_bound: int = 1000) -> Rooms:
    return Rooms(log_bound=log_bound, stop=lambda answer, reason, by: None)


def say(room: Room, text: str, **more: Any) -> events.RoomEntry:
    """Append a message to a room's log."""
    return room.append(role="user", client_id="c", user_id="u", name="U", text=text, **more)


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 5), st.sampled_from(["r", "s"])),
    max_size=40,
)


@settings(max_examples=200)
@given(steps=steps)
def test_a_user_counts_once_whatever_tabs(steps: list[tuple[str, int, str]]) -> None:
    """Two tabs each of three users come and go: counts, roles and notices are always right."""
    rooms = make_rooms()
    clients = [make_client(("ada", "bob", "eve")[number // 2]) for number in range(6)]
    inside: dict[str, set[int]] = {"r": set(), "s": set()}
    for what, number, room_id in steps:
        client, _ = clients[number]
        users_before = {n // 2 for n in inside[room_id]}
        heard = {n: len(seat.events) for n, (_, seat) in enumerate(clients)}
        if what == "join":
            rooms.join(client, room_id, name=None, state=None)
            inside[room_id].add(number)
        elif number in inside[room_id]:
            room = rooms.get(room_id)
            assert room is not None
            rooms.leave(client, room, "left")
            inside[room_id].discard(number)
        users = {n // 2 for n in inside[room_id]}
        there = rooms.get(room_id)
        assert (there is None) is (not users)
        told = [n for n, (_, seat) in enumerate(clients) if len(seat.events) > heard[n]]
        if users != users_before and there is not None:
            others = inside[room_id] - {number}
            assert set(told) == (others if len(users_before) else set())
            last = [clients[n][1].events[-1] for n in told]
            assert all(getattr(event, "participants", None) == len(users) for event in last)
        else:
            assert told == []
        if there is not None:
            assert len(there.members) == len(users)
            assert {c.client_id for c in there.connections()} == {
                clients[n][0].client_id for n in inside[room_id]
            }
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
    room = Room("r", bound)
    for number in range(1, entries + 1):
        assert say(room, f"m{number}").seq == number
    told = {"right": room.epoch, "wrong": "another", "none": None}[epoch]
    recovered, messages = room.since(last_seq, told)
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
    room = Room("r", 1000)
    for _ in range(10):
        say(room, "x" * 250_000)
    recovered, messages = room.since(1, room.epoch)
    assert not recovered
    assert [entry.seq for entry in messages] == list(range(11 - len(messages), 11))
    assert 0 < sum(len(entry.text) for entry in messages) < 1024 * 1024


def test_the_first_in_an_empty_room_owns_it() -> None:
    """Owner, member; and a new owner only with a new room."""
    rooms = make_rooms()
    (ada, _), (bob, _) = make_client("ada"), make_client("bob")
    room = rooms.join(ada, "r", name=None, state=None)
    rooms.join(bob, "r", name="Robert", state={"x": 1})
    roles = {member.name: member.role for member in room.members.values()}
    assert roles == {"Ada": Role.OWNER, "Robert": Role.MEMBER}
    rooms.leave(ada, room, "left")
    rooms.leave(bob, room, "left")
    assert len(rooms) == 0
    again = rooms.join(bob, "r", name=None, state=None)
    assert again.members[bob.identity.key].role is Role.OWNER
    assert again.epoch != room.epoch
