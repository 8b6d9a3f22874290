"""Leases of processes, the one reaper, and messages between nodes."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.redis import RedisProcess
from tests.support.waiting import eventually_so
from wsserver.stores.redis import RedisLink, RedisNodes, nodes
from wsserver.stores.redis.nodes import KEYS


async def let_lapse(link: RedisLink, node: RedisNodes) -> None:
    """Let a node's lease have run out."""
    await link.command("ZADD", KEYS[0], "XX", 1, node.node_id)


async def test_a_node_lives_as_long_as_its_lease(link: RedisLink) -> None:
    """Who does not renew is dead to the others, until it is buried."""
    first, second = RedisNodes(link), RedisNodes(link)
    for node in (first, second):
        await node.beat()
    alive, dead = await first.all()
    assert (set(alive), dead) == ({first.node_id, second.node_id}, [])
    await let_lapse(link, second)
    assert await first.all() == ([first.node_id], [second.node_id])
    await first.bury(second.node_id)
    assert await first.all() == ([first.node_id], [])


async def test_a_node_that_comes_back_learns_that_it_was_dead(link: RedisLink) -> None:
    """It is told once, and only if its lease had run out; it is not buried alive."""
    node, other = RedisNodes(link), RedisNodes(link)
    lapses: list[str] = []
    node.on_lapsed = lambda: lapses.append("lapsed")
    await node.beat()
    await node.beat()
    assert lapses == []
    await let_lapse(link, node)
    await node.beat()
    await node.beat()
    assert lapses == ["lapsed"]
    await other.bury(node.node_id)
    assert (await other.all()).alive == [node.node_id]


async def test_an_emptied_redis_knows_at_once_who_lives(
    redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the next beat is due: who dies before would never be missed."""
    monkeypatch.setattr(nodes, "BEAT_SECONDS", 3600.0)
    link = RedisLink.open(redis.url)
    node = RedisNodes(link)
    keeping = asyncio.create_task(node.keep())

    async def is_known() -> bool:
        return redis.ask("ZSCORE", KEYS[0], node.node_id) != "$-1\r\n"

    await eventually_so(is_known)
    redis.kill()
    redis.forget()
    redis.start()
    await eventually_so(is_known)
    keeping.cancel()
    await asyncio.wait({keeping})
    await link.close()


async def test_one_reaper_at_a_time(link: RedisLink) -> None:
    """Of many nodes one cleans up, until it leaves or falls silent."""
    five = [RedisNodes(link) for _ in range(5)]
    got = await asyncio.gather(*(node.may_reap() for node in five))
    assert sum(got) == 1
    reaper = five[got.index(True)]
    other = five[got.index(False)]
    assert await reaper.may_reap()
    assert not await other.may_reap()
    assert 0 < await link.command("PTTL", KEYS[1]) <= 15_000
    await reaper.leave()
    assert await other.may_reap()


async def test_a_node_that_leaves_is_dead_at_once(link: RedisLink) -> None:
    """An orderly end is known without waiting for the lease; what is left of it is cleared."""
    node, other = RedisNodes(link), RedisNodes(link)
    await node.beat()
    await other.beat()
    await node.leave()
    assert await other.all() == ([other.node_id], [node.node_id])
    await other.bury(node.node_id)
    assert await other.all() == ([other.node_id], [])
    await node.leave()  # twice is like once
    assert await other.all() == ([other.node_id], [])


async def test_messages_reach_the_node_they_are_for(link: RedisLink, redis_url: str) -> None:
    """An inbox is one node's; what is sent comes whole and in order."""
    far = RedisLink.open(redis_url)
    node, other, sender = RedisNodes(link), RedisNodes(link), RedisNodes(far)
    got: list[bytes] = []
    all_there = asyncio.Event()

    def take(message: bytes) -> None:
        got.append(message)
        if len(got) == 2:
            all_there.set()

    end = await node.receive(take, lambda: None)
    strays: list[bytes] = []
    await other.receive(strays.append, lambda: None)
    await sender.send(node.node_id, b"one\x00")
    await sender.send(node.node_id, b"two")
    await asyncio.wait_for(all_there.wait(), 5)
    assert (got, strays) == ([b"one\x00", b"two"], [])
    end()
    await far.close()
