"""Seats on Redis of clients that move, and of those whose seats Redis loses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.contracts.room_samples import Process, seat
from tests.support.redis import RedisProcess
from tests.support.redis_rooms import Fleet, redis_rooms
from tests.support.seats import make_client, rooms_over
from tests.support.waiting import eventually, eventually_so
from wsserver.core.rooms import RoomBounds, losses
from wsserver.core.rooms.changes import Broken, Draft, Left, Withdrawn
from wsserver.stores.redis.rooms.keys import room_keys
from wsserver_protocol import events
from wsserver_protocol.errors import ErrorCode, WireError

GRACE = 30.0

ANSWER = Draft(
    role="assistant", client_id="server", user_id="m", name="m", text="answer", stream_id="s1"
)


@pytest.fixture
async def fleet(redis: RedisProcess) -> AsyncIterator[Fleet]:
    async with redis_rooms(redis.url) as fleet:
        yield fleet


def process(fleet: Fleet) -> Process:
    broker = fleet.broker(RoomBounds())
    return Process(broker, fleet.presence(broker, GRACE))


async def test_a_lost_second_seat_is_taken_again(fleet: Fleet, redis: RedisProcess) -> None:
    """Of a user who is there already nobody is told; that Redis has lost the seat is seen all the
    same, and made good."""
    rooms, other = rooms_over(fleet.broker()), process(fleet)
    await other.join("ada")
    before = await _kept(fleet)
    tab, tab_seat = make_client("ada")
    await rooms.join(tab, "r")
    await _bring_back(fleet, before)
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: any(isinstance(e, events.RoomJoined) for e in tab_seat.events))
    (member,) = (await other.join("ada")).members
    assert set(member.client_ids) == {"ada-1", tab.client_id}


async def test_a_lost_answer_closes_its_ask_again(fleet: Fleet, redis: RedisProcess) -> None:
    """Redis lost that an answer was logged: who logged it does so again, under another epoch, as
    nobody is shown its new place. Its ask holds nobody up."""
    one, worker = process(fleet), fleet.broker(RoomBounds())
    await one.join("ada")
    await one.ask("ada", "s1")
    before = await _kept(fleet)
    logged = await worker.answer("r", ANSWER)
    await _bring_back(fleet, before)
    other = process(fleet)
    await other.join("bob")
    await eventually(lambda: bool(one.heard(Broken)))  # it was told what is no more
    missing = await one.join("ada")
    assert [ask.stream_id for ask in missing.open_asks] == ["s1"]
    one.told.clear()
    _come_back(fleet)

    async def is_closed() -> bool:
        return not await fleet.links[0].command("HLEN", room_keys("r")[8])

    await eventually_so(is_closed)
    await eventually(lambda: bool(one.heard(Broken)))
    again = await one.join("ada")
    assert again.open_asks == ()
    assert again.epoch != missing.epoch
    assert [entry.message_id for entry in again.entries][1:] == [logged and logged.message_id]
    _come_back(fleet)
    assert await one.say("ada", "next") == 3


async def test_an_ask_that_nobody_answers_any_more_is_closed(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """Redis lost that it was answered, and who had logged that has died: the asker's process finds
    it, and gives whoever may still log it the time to do so."""
    one = process(fleet)
    await one.join("ada")
    await one.presence.renew()
    for stream_id in ("lost", "living"):
        await one.ask("ada", stream_id)
    fleet.living.add("living")
    assert await one.presence.lapsed() == []
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    looks = 0

    async def is_closed() -> bool:
        nonlocal looks
        looks += bool(one.presence._ended)  # type: ignore[attr-defined]  # Redis' presence
        assert await one.presence.lapsed() == []
        return one.heard(Withdrawn) != []

    await eventually_so(is_closed)
    assert looks == 1
    assert [change.stream_id for change in one.heard(Withdrawn)] == ["lost"]
    assert [ask.stream_id for ask in (await one.join("bob")).open_asks] == ["living"]


def _come_back(fleet: Fleet) -> None:
    """The process that logs answers takes note that Redis is back."""
    for told in tuple(fleet.links[1].on_up):
        told()


async def test_who_moves_while_it_enters_sits_nowhere(
    fleet: Fleet, redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes to another process while it is entered anew here, and is not in the room
    any more where it went, leaves no seat behind."""
    monkeypatch.setattr(losses, "TAKEN_UP_WITHIN", 0.0)
    rooms, other = rooms_over(fleet.broker()), process(fleet)
    (ada, _), (bob, _) = make_client("ada"), make_client("bob")
    await other.join("cyd")
    for client in (ada, bob):
        await rooms.join(client, "r")
    redis.freeze()
    entering = asyncio.create_task(rooms.enter(ada, "r"))
    await asyncio.sleep(0)  # it is under way
    rooms.vacate(ada)
    redis.thaw()
    with pytest.raises(WireError) as refused:
        await entering
    assert refused.value.code is ErrorCode.NOT_IN_ROOM
    room = rooms.get("r")
    assert room is not None
    assert list(room.clients) == [bob.client_id]

    async def has_gone() -> bool:
        await rooms.sweep()
        return [left.user_id for left in other.heard(Left)] == ["ada"]

    await eventually_so(has_gone)


async def test_who_moves_keeps_the_seat_that_it_takes_up(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given up after a client has moved is not the seat that it has taken up since."""
    monkeypatch.setattr(losses, "TAKEN_UP_WITHIN", 0.0)
    rooms, other = rooms_over(fleet.broker()), process(fleet)
    ada, _ = make_client("ada")
    await rooms.join(ada, "r")
    rooms.vacate(ada)
    moved = replace(seat("ada"), client_id=ada.client_id, takes=1)
    await other.broker.join("r", moved)
    await asyncio.sleep(0)
    await rooms.sweep()
    assert other.heard(Left) == []
    assert (await other.join("cyd")).participants == 2


async def test_who_moved_once_and_leaves_later_has_left(
    fleet: Fleet, redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is owed for a client's last stay is not forgotten for an earlier one."""
    monkeypatch.setattr(losses, "TAKEN_UP_WITHIN", 0.5)
    rooms, other = rooms_over(fleet.broker()), process(fleet)
    await other.join("cyd")
    before, _ = make_client("ada")
    await rooms.join(before, "r")
    rooms.vacate(before)
    is_due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, is_due.set)
    after, _ = make_client("ada")
    after.client_id, after.takes = before.client_id, 2
    room, _ = await rooms.join(after, "r")
    redis.stop()
    await rooms.leave(after, room, "left")
    await is_due.wait()  # by now the first stay is owed, too
    redis.start()

    async def has_left() -> bool:
        with suppress(WireError):
            await rooms.sweep()
        return [left.user_id for left in other.heard(Left)] == ["ada"]

    await eventually_so(has_left)


async def _kept(fleet: Fleet) -> dict[str, bytes | None]:
    """The room as Redis has it."""
    asking = fleet.links[0]
    return {name: await asking.command("DUMP", name) for name in room_keys("r")}


async def _bring_back(fleet: Fleet, kept: dict[str, bytes | None]) -> None:
    """Have Redis lose what it was told of the room since."""
    asking = fleet.links[0]
    for name, value in kept.items():
        if value is None:
            await asking.command("DEL", name)
        else:
            await asking.command("RESTORE", name, 0, value, "REPLACE")


async def test_a_seat_that_moved_since_it_was_found_empty_stays(fleet: Fleet) -> None:
    """A process finds a seat of its own in which nobody sits, since its client is on the way to
    another one; by the time it takes the seat away, that is the other one's."""
    here, there = fleet.broker(), process(fleet)
    rooms, other = rooms_over(here), fleet.broker()
    await there.join("bob")
    await here.join("r", seat("ada"))
    (left,), _ = await here.held("r", here.node)
    await other.join("r", replace(seat("ada"), takes=1))
    await rooms.lapse(left)
    assert {member.user_id for member in (await there.join("bob")).members} == {"ada", "bob"}
    (taken,), _ = await other.held("r", other.node)
    await rooms.lapse(taken)
    await eventually(lambda: [left.user_id for left in there.heard(Left)] == ["ada"])
