"""Turns of one session over several processes: in order, one at a time, past the dead."""

from __future__ import annotations

import asyncio
import itertools

from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.turn_order import RedisTurnOrder, _keys

SESSIONS = itertools.count(1)


async def nobody(stream_ids: list[str]) -> set[str]:
    return set()


async def all_live(stream_ids: list[str]) -> set[str]:
    return set(stream_ids)


async def test_turns_go_in_the_order_of_their_arrival(link: RedisLink, redis_url: str) -> None:
    """The second waits, on another process, until the first has ended; the third for the second."""
    session = f"ada\0s{next(SESSIONS)}"
    other_link = RedisLink.open(redis_url)
    here, there = (
        RedisTurnOrder(link, "nod_here", all_live),
        RedisTurnOrder(other_link, "nod_there", all_live),
    )
    try:
        await here.arrive(session, "str_1")
        await there.arrive(session, "str_2")
        await here.arrive(session, "str_3")
        await here.wait(session, "str_1")
        second = asyncio.create_task(there.wait(session, "str_2"))
        third = asyncio.create_task(here.wait(session, "str_3"))
        assert not (await asyncio.wait({second, third}, timeout=0.3))[0]
        here.leave(session, "str_1")
        await second
        assert not third.done()
        there.leave(session, "str_2")
        await third
    finally:
        await other_link.close()


async def test_a_dead_gateways_turn_gives_way_when_its_answer_has_ended(link: RedisLink) -> None:
    """Its lease has run out: while the answer is made the line stands, and then goes on."""
    session = f"ada\0s{next(SESSIONS)}"
    living = {"str_dead"}

    async def alive(stream_ids: list[str]) -> set[str]:
        return living & set(stream_ids)

    order = RedisTurnOrder(link, "nod_here", alive)
    await order.arrive(session, "str_dead")
    line, leases, _ = _keys(session)
    await link.command("HSET", leases, "str_dead", 1)  # long ago
    await order.arrive(session, "str_next")
    waiting = asyncio.create_task(order.wait(session, "str_next"))
    assert not (await asyncio.wait({waiting}, timeout=0.3))[0]
    living.clear()
    await waiting
    assert await link.command("LRANGE", line, 0, -1) == [b"str_next"]


async def test_arriving_twice_is_arriving_once(link: RedisLink) -> None:
    """A step whose reply was lost is sent again, and takes no second place."""
    session = f"ada\0s{next(SESSIONS)}"
    order = RedisTurnOrder(link, "nod_here", nobody)
    await order.arrive(session, "str_1")
    await order.arrive(session, "str_1")
    line, leases, _ = _keys(session)
    assert await link.command("LLEN", line) == 1
    assert await link.command("PTTL", leases) > 0


async def test_a_turn_takes_its_place_behind_those_that_have_theirs(
    link: RedisLink, redis_url: str
) -> None:
    """It need not wait for their ends, wherever they are led; only for their places in the tree."""
    session = f"ada\0s{next(SESSIONS)}"
    other_link = RedisLink.open(redis_url)
    here, there = (
        RedisTurnOrder(link, "nod_here", all_live),
        RedisTurnOrder(other_link, "nod_there", all_live),
    )
    try:
        assert await here.arrive(session, "str_1")
        assert not await there.arrive(session, "str_2")
        placing = asyncio.create_task(there.wait(session, "str_2", to_place=True))
        assert not (await asyncio.wait({placing}, timeout=0.3))[0]
        here.placed(session, "str_1")
        await placing
        ended = asyncio.create_task(there.wait(session, "str_2"))
        assert not (await asyncio.wait({ended}, timeout=0.3))[0]
        here.leave(session, "str_1")
        await ended
    finally:
        await other_link.close()


async def test_who_was_believed_dead_takes_his_place_again(link: RedisLink) -> None:
    """A turn that was taken out of the line waits for those who stand there by then, and not for
    all who come after them."""
    session = f"ada\0s{next(SESSIONS)}"
    order = RedisTurnOrder(link, "nod_here", nobody)
    await order.arrive(session, "str_slow")
    await link.command("HSET", _keys(session)[1], "str_slow", 1)  # not heard of
    await order.arrive(session, "str_1")
    await order.wait(session, "str_1")
    waiting = asyncio.create_task(order.wait(session, "str_slow"))
    assert not (await asyncio.wait({waiting}, timeout=0.3))[0]
    await order.arrive(session, "str_2")
    order.leave(session, "str_1")
    await waiting
    assert await link.command("LRANGE", _keys(session)[0], 0, -1) == [b"str_slow", b"str_2"]
