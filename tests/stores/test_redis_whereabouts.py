"""Seats of processes that die right after Redis has forgotten that they lived, or where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contracts.room_samples import Process, RoomClock, key, seat
from tests.support.redis import RedisProcess
from tests.support.redis_rooms import Fleet, redis_rooms
from tests.support.waiting import eventually_so
from wsserver.core.rooms import RoomBounds
from wsserver.core.rooms.presence import LEASE, Lapsed
from wsserver.stores.redis.rooms.keys import LEASES, node_key

GRACE = 30.0


@pytest.fixture
def clock() -> RoomClock:
    return RoomClock()


@pytest.fixture
async def fleet(redis: RedisProcess, clock: RoomClock) -> AsyncIterator[Fleet]:
    async with redis_rooms(redis.url, clock) as fleet:
        yield fleet


def process(fleet: Fleet) -> Process:
    broker = fleet.broker(RoomBounds())
    return Process(broker, fleet.presence(broker, GRACE))


async def test_who_enters_an_emptied_redis_is_found(
    fleet: Fleet, redis: RedisProcess, clock: RoomClock
) -> None:
    """Nobody knows yet that Redis has lost everything; the process dies before its next beat."""
    dead, other = process(fleet), process(fleet)
    await dead.presence.renew()
    await dead.join("ada")
    assert redis.ask("FLUSHALL") == "+OK\r\n"
    await dead.join("bob")
    clock.pass_seconds(LEASE + GRACE + 1)
    assert Lapsed("r", key("bob"), "bob-1") in await other.presence.lapsed()


async def test_an_entry_is_a_word_of_life(fleet: Fleet, clock: RoomClock) -> None:
    """Also for a process that has yet to say its first."""
    one, other = process(fleet), process(fleet)
    await one.join("ada")
    clock.pass_seconds(LEASE + GRACE - 1)
    assert await other.presence.lapsed() == []
    await one.join("bob")
    clock.pass_seconds(LEASE + GRACE - 1)
    assert await other.presence.lapsed() == []
    clock.pass_seconds(2)
    assert {user for _, user, *_ in await other.presence.lapsed()} == {key("ada"), key("bob")}


async def test_all_rooms_are_said_again_once_redis_may_have_forgotten_them(
    fleet: Fleet, redis: RedisProcess
) -> None:
    """At once, and not only those that somebody enters."""
    one = process(fleet)
    for room_id in "rs":
        await one.join("ada", room_id=room_id)
    await one.presence.renew()
    where = node_key(one.broker.node)  # type: ignore[attr-defined]  # Redis' broker
    assert redis.ask("DEL", where, *LEASES) == ":2\r\n"
    redis.ask("CLIENT", "KILL", "TYPE", "pubsub")

    async def is_known() -> bool:
        return redis.ask("SCARD", where) == ":2\r\n" and redis.ask("ZCARD", *LEASES) == ":1\r\n"

    await eventually_so(is_known)


async def test_who_was_believed_dead_is_found_later(fleet: Fleet, clock: RoomClock) -> None:
    """Whoever clears up after a process that stood still strikes a room as it enters there."""
    frozen, other = process(fleet), process(fleet)
    node: str = frozen.broker.node  # type: ignore[attr-defined]  # Redis' broker
    await frozen.presence.renew()
    clock.pass_seconds(LEASE + GRACE + 1)
    await frozen.join("ada")
    await fleet.links[0].command("SREM", node_key(node), "r")  # who clears up had seen no seat
    await frozen.presence.renew()
    clock.pass_seconds(LEASE + GRACE + 1)
    assert await other.presence.lapsed() == [Lapsed("r", key("ada"), "ada-1")]


async def test_those_who_enter_together_share_one_word(fleet: Fleet, redis: RedisProcess) -> None:
    """A thousand that come back at once don't each say where they sit."""
    one = process(fleet)
    await one.join("ada")
    redis.ask("CONFIG", "RESETSTAT")
    await asyncio.gather(*(one.broker.join("r", seat(f"user{n}")) for n in range(100)))
    assert "cmdstat_sadd:calls=1," in redis.ask("INFO", "commandstats")


async def test_who_resigned_is_not_believed_to_live(fleet: Fleet, clock: RoomClock) -> None:
    """A client that enters while its process ends is found after the grace all the same."""
    one, other = process(fleet), process(fleet)
    await one.join("ada")
    await one.presence.resign()
    await one.join("bob")
    clock.pass_seconds(GRACE + 1)
    assert {user for _, user, *_ in await other.presence.lapsed()} == {key("ada"), key("bob")}
