"""Rooms on Redis while bells get lost, Redis is away, forgets its end, or forgets everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from tests.contracts.room_samples import Process, RoomClock, key, origin, seat
from tests.support.redis import RedisProcess
from tests.support.redis_rooms import Fleet, redis_rooms
from tests.support.seats import Seat, make_client, rooms_over
from tests.support.waiting import eventually
from wsserver.core.rooms import Origin, Position, Room, RoomBounds, Rooms
from wsserver.core.rooms.changes import Broken, Left, Logged, Withdrawn
from wsserver.core.rooms.presence import LEASE, Lapsed
from wsserver.stores.redis.rooms.keys import room_keys
from wsserver_protocol import events
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.fields import Access, Role
from wsserver_protocol.requests import RoomSettings

GRACE = 30.0

Kind = TypeVar("Kind")
Result = TypeVar("Result")


@pytest.fixture
async def fleet(redis: RedisProcess) -> AsyncIterator[Fleet]:
    async with redis_rooms(redis.url) as fleet:
        yield fleet


def process(fleet: Fleet) -> Process:
    broker = fleet.broker(RoomBounds())
    return Process(broker, fleet.presence(broker, GRACE))


def texts(process: Process) -> list[str]:
    return [change.entry.text for change in process.heard(Logged)]


async def test_lost_bells_are_made_good(fleet: Fleet, redis: RedisProcess) -> None:
    """However often the lines for bells break, all is told in the end, and in order."""
    one, two = process(fleet), process(fleet)
    await one.join("ada")
    await two.join("bob")
    for number in range(12):
        if number % 3 == 1:
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await one.say("ada", str(number))
    said = [str(number) for number in range(12)]
    assert texts(one) == said
    await eventually(lambda: texts(two) == said)
    assert two.heard(Broken) == []


async def test_an_empty_redis_is_filled_again(fleet: Fleet, redis: RedisProcess) -> None:
    """Everyone is shown the room anew, under another epoch, as what they were, settings and all."""
    processes = [rooms_over(fleet.broker()), rooms_over(fleet.broker())]
    (ada, ada_seat), (bob, bob_seat) = make_client("ada"), make_client("bob")
    epoch = (await processes[0].join(ada, "r"))[1].epoch
    await processes[1].join(bob, "r")
    wanted = RoomSettings(title="T", access=Access.INVITED)
    await processes[0].broker.configure("r", wanted, "ada", Origin(ada.client_id))
    await eventually(lambda: _of(bob_seat, events.RoomUpdated) != [])
    redis.kill()
    redis.forget()
    redis.start()
    for given, role in ((ada_seat, Role.OWNER), (bob_seat, Role.MEMBER)):
        await eventually(lambda g=given: _of(g, events.RoomJoined) != [])  # type: ignore[misc]  # bound early
        (seen,) = _of(given, events.RoomJoined)
        assert (seen.recovered, seen.role, seen.messages, seen.settings) == (
            False,
            role,
            (),
            wanted,
        )
        assert seen.epoch != epoch
    outsider, _ = make_client("eve")
    with pytest.raises(WireError) as refused:
        await processes[0].join(outsider, "r")
    assert refused.value.code is ErrorCode.FORBIDDEN
    await processes[1].say(bob, _room(processes[1]), "still here", None, Origin(bob.client_id))
    await eventually(lambda: [e.text for e in _of(ada_seat, events.RoomEntryEvent)] != [])


async def test_who_asks_while_the_room_is_entered_anew_is_answered(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """A step that is done between a loss and its healing tells its caller, and those who are about
    to be shown the room anew nothing."""
    rooms = rooms_over(fleet.broker())
    (ada, ada_seat), (bob, bob_seat) = make_client("ada"), make_client("bob")
    room, _ = await rooms.join(ada, "r")
    await rooms.join(bob, "r")
    told = len(ada_seat.events), len(bob_seat.events)
    gate = asyncio.Event()
    for client in (ada, bob):
        client.lane.begin(gate.wait)
    redis.ask("DEL", room_keys("r")[10])  # the changes
    redis.ask("HINCRBY", room_keys("r")[0], "chg", "9")
    await rooms.broker.set_state("r", bob.identity.key, {"x": 1}, Origin(bob.client_id, "q1"))
    await eventually(lambda: bool(room.entering))
    await rooms.broker.set_state("r", bob.identity.key, {"x": 2}, Origin(bob.client_id, "q2"))
    seen = [event.request_id for event in bob_seat.events[told[1] :]]
    assert seen == ["q1", "q2"]
    assert ada_seat.events[told[0] :] == []
    gate.set()
    for given, before in zip((ada_seat, bob_seat), told, strict=True):
        await eventually(lambda g=given: _of(g, events.RoomJoined) != [])  # type: ignore[misc]  # bound early
        kinds = {type(event) for event in given.events[before:]}
        assert kinds <= {events.RoomJoined, events.RoomPresence}


async def test_who_comes_back_meanwhile_is_shown_the_room_once(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """A client that enters the room again by itself, before it could be entered anew, is not shown
    it for a second time."""
    rooms = rooms_over(fleet.broker())
    ada, ada_seat = make_client("ada")
    room, _ = await rooms.join(ada, "r")
    gate = asyncio.Event()
    ada.lane.begin(gate.wait)
    redis.ask("DEL", *room_keys("r"))
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: bool(room.entering))
    _, again = await rooms.join(ada, "r")
    assert not room.entering
    gate.set()
    await eventually(lambda: ada.lane.is_idle)
    assert _of(ada_seat, events.RoomJoined) == []
    assert (await rooms.join(ada, "r"))[1].epoch == again.epoch


async def test_a_lost_end_names_the_log_anew(fleet: Fleet, redis: RedisProcess) -> None:
    """Redis forgets what it told and goes on: nobody keeps an entry that is none, under a seq that
    is now another's."""
    one, two = process(fleet), process(fleet)
    epoch = (await one.join("ada")).epoch
    await two.join("bob")
    await one.say("ada", "kept")
    meta, log, changes = (room_keys("r")[index] for index in (0, 9, 10))
    mark = redis.ask("HGET", meta, "mark").split()[1]
    await one.say("ada", "lost")
    await eventually(lambda: texts(two) == ["kept", "lost"])
    redis.ask("LTRIM", log, "0", "-2")
    redis.ask("LTRIM", changes, "0", "-2")
    redis.ask("HINCRBY", meta, "seq", "-1")
    redis.ask("HINCRBY", meta, "chg", "-1")
    redis.ask("HSET", meta, "mark", mark)
    third = process(fleet)
    await third.join("cyd")
    await eventually(lambda: bool(one.heard(Broken) and two.heard(Broken)))
    again = await one.join("ada", position=Position(seq=2, epoch=epoch))
    assert again.epoch != epoch
    assert (again.recovered, [e.text for e in again.entries]) == (False, ["kept"])
    assert (await two.join("bob")).epoch == again.epoch


async def test_nothing_hangs_while_redis_is_away(fleet: Fleet, redis: RedisProcess) -> None:
    """What is asked is refused at once; when it is back all goes on, and no word is missing."""
    one, two = process(fleet), process(fleet)
    await one.join("ada")
    await two.join("bob")
    await one.say("ada", "before")
    await eventually(lambda: texts(two) == ["before"])
    redis.stop()
    for step in (one.say("ada", "x"), two.join("eve"), one.leave("ada"), two.presence.renew()):
        with pytest.raises(WireError) as refused:
            async with asyncio.timeout(5):
                await step
        assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
        assert refused.value.retry_after is not None
    redis.start()
    assert (await _when_back(lambda: one.say("ada", "after"))) == 2
    await eventually(lambda: texts(two) == ["before", "after"])
    assert one.heard(Broken) == two.heard(Broken) == []


async def test_who_leaves_while_redis_is_away_has_left(fleet: Fleet, redis: RedisProcess) -> None:
    """The place is given up when it is back; unless its client has entered again by then."""
    rooms, other = rooms_over(fleet.broker()), process(fleet)
    (ada, _), (bob, _) = make_client("ada"), make_client("bob")
    await other.join("cyd")
    for client in (ada, bob):
        await rooms.join(client, "r")
    redis.stop()
    for client in (ada, bob):
        await rooms.leave(client, _room(rooms), "left")
    redis.start()
    await _when_back(lambda: rooms.join(bob, "r"))
    await rooms.sweep()
    await eventually(lambda: [c.user_id for c in other.heard(Left)] == ["ada"])
    assert [member.user_id for member in (await other.join("cyd")).members] == ["cyd", "bob"]


async def test_who_comes_back_does_not_leave_for_the_time_before(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """A place that could not be given up, since Redis was away, is kept if its client enters again
    just when that is made good."""
    rooms = rooms_over(fleet.broker())
    (ada, _), (bob, bob_seat) = make_client("ada"), make_client("bob")
    await rooms.join(ada, "r")
    room, _ = await rooms.join(bob, "r")
    redis.freeze()
    await rooms.leave(bob, room, "left")
    redis.thaw()
    coming = asyncio.create_task(_when_back(lambda: rooms.join(bob, "r")))
    while not coming.done():
        await _when_back(rooms.sweep)
    assert bob.client_id in _room(rooms).clients
    assert (await _when_back(lambda: rooms.join(ada, "r")))[1].participants == 2
    assert _of(bob_seat, events.RoomUserLeft) == []


async def test_a_seat_that_redis_remembers_again_is_taken_away(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """It was given up, and Redis has lost that: its process knows nothing of it, and looks when
    Redis is back."""
    one = process(fleet)
    await one.join("ada")
    forgotten = fleet.broker()
    forgotten.node = one.broker.node  # type: ignore[attr-defined]  # Redis' broker
    await forgotten.join("r", seat("bob"))
    await one.presence.renew()
    assert await one.presence.lapsed() == []
    redis.kill()
    redis.start()
    ghosts: list[Lapsed] = []
    async with asyncio.timeout(10):
        while not ghosts:
            ghosts = await _when_back(one.presence.lapsed)
    (ghost,) = ghosts
    assert ghost == Lapsed("r", key("bob"), "bob-1")
    await one.lapse(ghost)
    assert [left.user_id for left in one.heard(Left)] == ["bob"]
    assert await one.presence.lapsed() == []


async def test_a_dead_process_leaves_no_ask_open(redis: RedisProcess) -> None:
    """Its members leave once; what it asked and nobody will answer is withdrawn, no more."""
    clock = RoomClock()
    async with redis_rooms(redis.url, clock) as fleet:
        one, two, dying = (process(fleet) for _ in range(3))
        await one.join("ada")
        await dying.join("bob")
        for stream_id in ("lost", "living"):
            await dying.ask("bob", stream_id)
        fleet.living.add("living")
        for each in (one, two, dying):
            await each.presence.renew()
        clock.pass_seconds(LEASE + GRACE + 1)
        for each in (one, two):
            await each.presence.renew()
            for lapsed in await each.presence.lapsed():
                await each.lapse(lapsed)
        await eventually(lambda: len(one.heard(Withdrawn)) == 1)
        assert [change.stream_id for change in one.heard(Withdrawn)] == ["lost"]
        assert [change.user_id for change in one.heard(Left)] == ["bob"]
        assert [ask.stream_id for ask in (await one.join("ada")).open_asks] == ["living"]
        await one.answer("living")
        await one.answer("living")
        assert [change.entry.seq for change in one.heard(Logged)] == [3]


async def test_all_keys_end_by_themselves(fleet: Fleet, redis: RedisProcess) -> None:
    """Whatever a room has lasts as long as it: no key without an end."""
    one = process(fleet)
    await one.join("ada", state={"x": 1})
    await one.join("bob")
    await one.say("ada", "hello")
    await one.ask("ada", "s1")
    await one.answer("s1")
    await one.broker.invite("r", Role.MEMBER, 60.0, origin("ada"))
    await one.set_role("bob", Role.MODERATOR)
    await one.ban("bob")
    await one.presence.renew()
    keys = [key.decode() async for key in fleet.links[0].scan("wsserver:*")]
    assert len(keys) > 12
    assert [key for key in keys if await fleet.links[0].command("PTTL", key) < 0] == []


async def test_what_is_handed_on_ends_by_itself(fleet: Fleet, redis: RedisProcess) -> None:
    """The keys that are made anew when an owner leaves last as long as the room."""
    one = process(fleet)
    await one.join("ada")
    await one.join("bob")
    await one.leave("ada")
    keys = [key.decode() async for key in fleet.links[0].scan("wsserver:{r:*")]
    assert room_keys("r")[5] in keys  # the owners
    assert [key for key in keys if await fleet.links[0].command("PTTL", key) < 0] == []


def _of(given: Seat, kind: type[Kind]) -> list[Kind]:
    return [event for event in given.events if isinstance(event, kind)]


def _room(rooms: Rooms) -> Room:
    room = rooms.get("r")
    assert room is not None
    return room


async def _when_back(step: Callable[[], Awaitable[Result]]) -> Result:
    """A step's result, once the store is there again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await step()
            except WireError as error:
                assert error.code is ErrorCode.STORE_UNAVAILABLE, error
