"""The session store on a real Redis: the contract, and what only a shared server can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from tests.contracts.session_keeping import SessionKeepingContract
from tests.contracts.session_samples import ALICE, Clock, MakeStore, chain, message, session
from tests.contracts.session_store import SessionStoreContract
from tests.support.redis import RedisProcess, running_redis
from wsserver.core.sessions.model import Bounds
from wsserver.core.sessions.store import SessionNotFound, StoreUnavailable
from wsserver.stores.redis import RedisSessionStore


@pytest.fixture
def empty(redis_server: RedisProcess) -> str:
    """The address of a server with nothing in it and no script known."""
    redis_server.ask("FLUSHALL")
    redis_server.ask("SCRIPT", "FLUSH")
    return redis_server.url


class TestRedisSessionStore(SessionStoreContract, SessionKeepingContract):
    """The contract on one Redis, and on a cluster."""

    @pytest.fixture
    async def make(self, redis_url: str, clock: Clock) -> AsyncIterator[MakeStore]:
        """Stores at one place, closed in the end."""
        opened: list[RedisSessionStore] = []

        async def make(bounds: Bounds) -> RedisSessionStore:
            opened.append(RedisSessionStore.open(redis_url, bounds, clock))
            return opened[-1]

        yield make
        for store in opened:
            await store.close()


@pytest.fixture
async def raw(empty: str) -> AsyncIterator[Redis]:
    """A client that sees the keys."""
    client = Redis.from_url(empty)
    yield client
    await client.aclose()


async def test_an_owners_keys_lie_in_one_slot(empty: str, raw: Redis) -> None:
    """Whatever the names hold, braces too, all keys of one owner have one hash tag."""
    store = RedisSessionStore.open(empty, Bounds(ttl=60.0))
    owner = "named:{}a}{b"
    await store.create(session("s}{1", owner))
    await store.append(owner, "s}{1", [message("m", stream_id="str}")], 1)
    keys: list[Any] = await raw.keys("*")
    slots = {key_slot(key) for key in keys}
    assert len(keys) == 10
    assert len(slots) == 1
    await store.close()


async def test_every_key_of_a_session_with_a_ttl_ends_by_itself(empty: str, raw: Redis) -> None:
    """Redis frees it all although nobody asks again; without a TTL nothing ends."""
    store = RedisSessionStore.open(empty, Bounds(ttl=60.0))
    await store.create(session("s"))
    await store.append(ALICE, "s", [message("m", stream_id="str")], 1)
    # The key that tells of streams is gone for a moment where a message gets another one.
    await store.revise(ALICE, "s", message("m", stream_id="str_2"))
    ends = {key: await raw.pttl(key) for key in await raw.keys("*")}
    assert all(0 < end <= 60_000 + 3_600_000 for end in ends.values()), ends
    await store.close()
    for_ever = RedisSessionStore.open(empty, Bounds())
    await for_ever.get(ALICE, "s")
    assert {await raw.pttl(key) for key in await raw.keys("*")} == {-1}
    await for_ever.close()


async def test_session_of_one_client_alone_ends_though_others_do_not(
    empty: str, raw: Redis
) -> None:
    """If a server dies before it deletes them, ephemeral sessions are gone a day later."""
    store = RedisSessionStore.open(empty, Bounds())
    await store.create(session("kept"))
    await store.create(session("e", "named:anon-1", is_ephemeral=True))
    for key in await raw.keys("*:s:*"):
        is_ephemeral = await raw.hget(key, "is_ephemeral") == b"1"
        assert (await raw.pttl(key) > 0) is is_ephemeral
    await store.close()


async def test_expired_session_leaves_no_key(empty: str, raw: Redis, clock: Clock) -> None:
    """When its owner is seen again, an expired session's keys and bytes are freed."""
    store = RedisSessionStore.open(empty, Bounds(ttl=60.0), clock)
    await store.create(session("s"))
    await store.append(ALICE, "s", [message("m", stream_id="str")], 1)
    clock.advance(61)
    await store.list_sessions(ALICE, cursor=None, limit=1, query=None)
    assert await raw.keys("*") == []
    await store.close()


@pytest.fixture
def clock() -> Clock:
    """A time of day that moves when told."""
    return Clock()


async def test_requests_never_search_the_key_space(empty: str, raw: Redis) -> None:
    """No operation that a client can ask for uses KEYS or SCAN."""
    store = RedisSessionStore.open(empty, Bounds(ttl=60.0))
    await raw.config_resetstat()
    await store.create(session("s"))
    await store.append(ALICE, "s", chain("a", "b"), 1)
    await store.list_sessions(ALICE, cursor=None, limit=1, query=None)
    await store.list_sessions(ALICE, cursor=None, limit=1, query="text")
    await store.find_stream(ALICE, "unknown")
    await store.delete_owner(ALICE)
    used = {name.removeprefix("cmdstat_") for name in await raw.info("commandstats")}
    assert used & {"keys", "scan", "randomkey"} == set()
    assert "evalsha" in used
    await store.close()


async def test_search_goes_on_where_its_bound_was(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that has looked at enough sessions ends early, and the next one finds the rest."""
    monkeypatch.setattr("wsserver.stores.redis.sessions.SEARCHED_AT_ONCE", 2)
    monkeypatch.setattr("wsserver.stores.redis.sessions.SEARCHED_AT_MOST", 4)
    store = RedisSessionStore.open(empty, Bounds())
    for number in range(10):
        title = "violin" if number in (0, 5) else "piano"
        await store.create(session(f"s{number}", title=title))
    found: list[str] = []
    cursor: str | None = None
    rounds = 0
    while True:
        rounds += 1
        page = await store.list_sessions(ALICE, cursor=cursor, limit=5, query="violin")
        found += [s.session_id for s in page.sessions]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == ["s5", "s0"]
    assert rounds >= 3
    await store.close()


async def test_absent_redis_is_unavailable(tmp_path: Path) -> None:
    """Nobody listens: every operation says so, and does not hang."""
    store = RedisSessionStore.open(f"unix://{tmp_path}/nobody.sock", Bounds())
    with pytest.raises(StoreUnavailable):
        await store.get(ALICE, "s")
    with pytest.raises(StoreUnavailable):
        await store.list_sessions(ALICE, cursor=None, limit=1, query=None)
    with pytest.raises(StoreUnavailable):
        await store.find_stream(ALICE, "str")
    await store.close()


async def test_store_is_back_when_redis_is(tmp_path: Path) -> None:
    """The same store goes on after Redis was stopped and started, with what Redis had saved."""
    with running_redis(tmp_path) as server:
        store = RedisSessionStore.open(server.url, Bounds())
        await store.create(session("s"))
        await store.append(ALICE, "s", chain("a"), 1)
        server.stop()
        with pytest.raises(StoreUnavailable):
            await store.append(ALICE, "s", [message("b", "a")], 2)
        server.start()
        assert (await store.append(ALICE, "s", [message("b", "a")], 2)).message_count == 2
        with pytest.raises(SessionNotFound):
            await store.get(ALICE, "other")
        await store.close()
