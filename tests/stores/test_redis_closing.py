"""The end of a process' link to Redis: nobody waits any more, and nothing is opened again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.redis import running_redis
from tests.support.waiting import eventually, eventually_so
from wsserver.core.sessions.store import StoreUnavailable, StoreUntouched
from wsserver.stores.redis import RedisLink


async def test_closing_leaves_nobody_waiting(link: RedisLink, redis_url: str) -> None:
    """What is under way and what waits behind it fails at once."""
    other = RedisLink.open(redis_url)
    await other.everywhere("CLIENT", "PAUSE", 10_000, "WRITE")
    asked = [asyncio.ensure_future(link.command("INCR", f"k{n}")) for n in range(600)]
    await eventually(lambda: all(lane._under_way for lane in link._hosts.lanes))
    await link.close()
    replies = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(reply, StoreUnavailable) for reply in replies)
    await other.everywhere("CLIENT", "UNPAUSE")
    await other.close()


async def test_a_link_is_closed_while_it_heals(tmp_path: Path) -> None:
    """Redis hangs, and it is being asked anew what it has: that is given up, and begun no more."""
    with running_redis(tmp_path) as server:
        server.freeze()
        link = RedisLink.open(server.url)
        with pytest.raises(StoreUnavailable):
            await link.ping()
        await eventually(lambda: link._learning is not None)
        async with asyncio.timeout(2):
            await link.close()


async def test_a_link_that_closes_opens_nothing_more(redis_url: str) -> None:
    """It is closed in the very moment in which it has learnt what Redis is: who has waited for that
    is told that it is closed, and no connection is left."""
    link, other = RedisLink.open(redis_url), RedisLink.open(redis_url)
    await other.ping()

    async def clients() -> int:
        return sum(found.count(b"id=") for found in await other.everywhere("CLIENT", "LIST"))

    async def are_as_before() -> bool:
        return await clients() == before

    async def close() -> None:
        await link.learn()
        await link.close()

    before = await clients()
    closing = asyncio.create_task(close())
    asked = [asyncio.create_task(link.command("GET", f"k{n}")) for n in range(20)]
    replies = await asyncio.gather(closing, *asked, link.ping(), return_exceptions=True)
    assert replies[0] is None
    assert {type(reply) for reply in replies[1:]} <= {StoreUntouched}
    await eventually_so(are_as_before)
    await other.close()
