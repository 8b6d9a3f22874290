"""Presence of big rooms, joined up: whoever hears the digests knows who is there."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.streams.virtual_loop import VirtualLoop
from tests.support.seats import make_client, make_rooms
from tests.support.virtual_time import pass_time, virtual
from wsserver.core.rooms import MEMBERS_SHOWN, Origin
from wsserver.core.rooms.changes import Entered, Left, Stated
from wsserver.core.rooms.digest import BIG, EVERY, PresenceDigest, chunks
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.fields import Role

USERS = ("ada", "bob", "cyd", "dan")


def member(user: str, mood: int = 0) -> events.Member:
    """A member, in a mood."""
    return events.Member(
        user_id=user, name=user, role=Role.MEMBER, state={"mood": mood}, client_ids=(user,)
    )


def entered(user: str, mood: int = 0) -> Entered:
    return Entered(member=member(user, mood), participants=500)


def left(user: str) -> Left:
    return Left(
        user_key=user,
        user_id=user,
        client_ids=(user,),
        participants=500,
        reason="left",
        member=member(user),
    )


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["toggle", "mood", "wait"]), st.sampled_from(USERS))))
def test_digests_add_up(steps: list[tuple[str, str]]) -> None:
    """Whatever happens in whichever order, a reader ends with exactly who is there, and how."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(add_up(steps))


async def add_up(steps: list[tuple[str, str]]) -> None:
    """Play the steps against a plain set of members."""
    told: list[events.RoomPresence] = []
    digest = PresenceDigest("r", told.append)
    there: dict[str, int] = {}
    for mood, (what, user) in enumerate(steps):
        if what == "wait":
            await pass_time(EVERY)
        elif what == "mood" and user in there:
            there[user] = mood
            digest.add(Stated(member=member(user, mood), participants=500))
        elif what == "toggle" and there.pop(user, None) is not None:
            digest.add(left(user))
        elif what == "toggle":
            there[user] = mood
            digest.add(entered(user, mood))
    await pass_time(EVERY * 2)
    known: dict[str, int] = {}
    for event in told:
        for gone in event.left or ():
            del known[gone]
        for come in event.joined or ():
            assert come.user_id not in known
            known[come.user_id] = come.state["mood"]
        for changed in event.changed or ():
            assert changed.user_id in known
            known[changed.user_id] = changed.state["mood"]
    assert known == there


@virtual
async def test_a_big_room_is_told_joined_up() -> None:
    """Up to a hundred one by one; then a few digests, whole together, replies still at once."""
    rooms = make_rooms()
    watcher, seat = make_client("watcher")
    room, _ = await rooms.join(watcher, "r")
    for number in range(299):
        client, own = make_client(f"u{number}")
        _, joined = await rooms.join(client, "r")
    assert (joined.participants, len(joined.members)) == (300, MEMBERS_SHOWN)
    one_by_one = [e for e in seat.events if isinstance(e, events.RoomUserJoined)]
    assert len(one_by_one) == BIG - 1
    await rooms.set_state(client, room, {"typing": True}, Origin(client.client_id, "q"))
    assert own.events[-1].request_id == "q"
    await rooms.leave(client, room, "left")
    await pass_time(EVERY)
    digests = [e for e in seat.events if isinstance(e, events.RoomPresence)]
    assert sum(len(event.joined or ()) for event in digests) == 199
    assert [(event.left, event.participants) for event in digests] == [(None, 299)]


@virtual
async def test_what_cancels_out_is_not_told() -> None:
    """Who comes and goes between two digests was never there."""
    told: list[events.RoomPresence] = []
    digest = PresenceDigest("r", told.append)
    digest.add(entered("ada"))
    digest.add(left("ada"))
    await pass_time(EVERY)
    assert told == []
    assert not digest.takes(BIG)


def test_large_states_are_spread_over_frames() -> None:
    """Members of 8 KiB each come in pieces that a frame holds, all of them and in order."""
    members = [
        events.Member(
            user_id=f"u{n}", name=None, role=Role.MEMBER, state={"x": "y" * 8000}, client_ids=()
        )
        for n in range(200)
    ]
    pieces = list(chunks(members))
    assert [m for piece in pieces for m in piece] == members
    for piece in pieces:
        assert sum(len(encode(m, Encoding.JSON)) for m in piece) <= 256 * 1024
