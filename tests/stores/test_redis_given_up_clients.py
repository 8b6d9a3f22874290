"""Who can't come back because Redis is away keeps his place, and what he needs for that."""

from __future__ import annotations

import asyncio

import pytest

from tests.stores.test_redis_clients import Someone, let_pass, taken
from wsserver.core.clients import MAX_TOKENS, token_digest, token_for
from wsserver.stores.redis import RedisClients, RedisLink
from wsserver.stores.redis import clients as redis_clients
from wsserver.stores.redis.clients import _key


@pytest.fixture
def first(link: RedisLink) -> RedisClients:
    return RedisClients(link, "nod_1", 60.0)


@pytest.fixture
def second(link: RedisLink) -> RedisClients:
    return RedisClients(link, "nod_2", 60.0)


async def test_takes_that_never_were_cost_no_token(
    first: RedisClients, second: RedisClients, link: RedisLink
) -> None:
    """A client tries and tries while Redis is away, more often than it may have tokens; its own,
    which is the successor of its last return, is good afterwards, and stays so."""
    one = Someone()
    await first.save(one.state(), is_connected=True)
    mine = (await taken(first, one.token)).token
    tries = [token_for(one.id) for _ in range(2 * MAX_TOKENS)]

    async def undo(successor: str) -> None:
        args = (token_digest(successor), "nod_2", 60_000, MAX_TOKENS)
        await link.call("clients/undo", [_key(one.id)], args)

    for successor in tries[:MAX_TOKENS]:
        await undo(successor)
    newest = (await taken(second, mine)).token
    for successor in tries[MAX_TOKENS:]:  # whose steps come late
        await undo(successor)
    for successor in tries[-MAX_TOKENS:]:
        late = ("nod_2", token_digest(newest), token_digest(successor), MAX_TOKENS)
        assert await link.call("clients/take", [_key(one.id)], late) is None
    assert (await taken(first, newest)).state.client_id == one.id


async def test_nobody_is_given_up_because_redis_was_away(
    first: RedisClients, second: RedisClients, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their windows ended meanwhile, on a gateway that lives and on one that has died: when Redis
    is back they may come back first."""
    monkeypatch.setattr(redis_clients, "PATIENCE_SECONDS", 1.0)
    here, orphan, late = Someone(), Someone(), Someone()
    for clients, one in ((first, here), (second, orphan), (first, late)):
        await clients.save(one.state(), is_connected=True)
        await clients.away(one.id, 0, 60)
        await let_pass(link, one.id)
    for callback in link.on_up:  # as if it had been away until now
        callback()
    giving_up = [
        asyncio.create_task(first.gone(here.id, 0)),
        asyncio.create_task(first.gone(late.id, 0)),
    ]
    reaping = asyncio.create_task(first.orphans("nod_2", 60))
    for one in (here, orphan):
        assert (await taken(second, one.token)).state.client_id == one.id
    assert await asyncio.gather(*giving_up) == [None, late.state()]
    assert await reaping == ([], 2)
    assert await second.take(late.token) is None
