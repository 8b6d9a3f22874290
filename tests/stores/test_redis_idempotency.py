"""The same request under the same id is run once, whatever process it comes to."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisIdempotency, RedisLink
from wsserver.stores.redis.idempotency import _key
from wsserver_protocol.errors import ErrorCode, WireError


async def test_one_of_many_runs_a_request(link: RedisLink) -> None:
    """Sent through several processes at once, a request is one's; the others learn what it is."""
    processes = [RedisIdempotency(link, 600) for _ in range(5)]
    outcomes = [f"str_{number}".encode() for number in range(5)]
    got = await asyncio.gather(
        *(p.claim("user:a", "r", b"f", o) for p, o in zip(processes, outcomes, strict=True))
    )
    won = [o for o, earlier in zip(outcomes, got, strict=True) if earlier is None]
    assert len(won) == 1
    assert {earlier for earlier in got if earlier is not None} == set(won)


async def test_an_id_is_for_one_request(link: RedisLink) -> None:
    """Another request under the same id is refused; another identity's is another request."""
    repeats = RedisIdempotency(link, 600)
    assert await repeats.claim("user:a", "r", b"f", b"one") is None
    with pytest.raises(WireError) as refused:
        await repeats.claim("user:a", "r", b"other", b"two")
    assert refused.value.code is ErrorCode.DUPLICATE_REQUEST
    assert await repeats.claim("user:b", "r", b"other", b"two") is None
    assert await repeats.claim("user:", "ar", b"other", b"three") is None


async def test_what_a_request_became_is_replaced_by_its_end(link: RedisLink) -> None:
    """After its end a request is answered with the end, for the retention."""
    repeats = RedisIdempotency(link, 60)
    await repeats.claim("user:a", "r", b"f", b"running")
    assert 0 < await link.command("PTTL", _key("user:a", "r")) <= 86_400_000
    await repeats.settle("user:a", "r", b"the end")
    assert await repeats.claim("user:a", "r", b"f", b"again") == b"the end"
    assert 0 < await link.command("PTTL", _key("user:a", "r")) <= 60_000


async def test_what_never_was_may_be_asked_again(link: RedisLink) -> None:
    """A request that was refused leaves its id free, and an end without a beginning nothing."""
    repeats = RedisIdempotency(link, 60)
    await repeats.claim("user:a", "r", b"f", b"running")
    await repeats.settle("user:a", "r", None)
    assert await repeats.claim("user:a", "r", b"another", b"running") is None
    await repeats.settle("user:a", "unknown", b"the end")
    assert await repeats.claim("user:a", "unknown", b"f", b"running") is None


async def test_a_claim_done_twice_is_one(link: RedisLink) -> None:
    """A step that ran again because its reply was lost still says that the request is one's own."""
    args = (b"f", b"running", "claim", 1000)
    assert await link.call("repeats/claim", [_key("a", "r")], args) is None
    assert await link.call("repeats/claim", [_key("a", "r")], args) is None


async def test_without_redis_nothing_is_run(link: RedisLink) -> None:
    """Who can't know whether a request ran already is told so."""
    repeats = RedisIdempotency(link, 60)
    await link.close()
    with pytest.raises(StoreUnavailable):
        await repeats.claim("user:a", "r", b"f", b"running")


async def test_what_will_never_be_is_taken_over_once(link: RedisLink) -> None:
    """Of those who find that a request's process has died one has it from then on."""
    repeats = [RedisIdempotency(link, 600) for _ in range(3)]
    assert await repeats[0].claim("user:a", "r", b"f", b"str_0 nod_dead") is None
    outcomes = [b"str_1 nod_1", b"str_2 nod_2"]
    won = await asyncio.gather(
        *(
            one.take_over("user:a", "r", b"str_0 nod_dead", outcome)
            for one, outcome in zip(repeats[1:], outcomes, strict=True)
        )
    )
    assert sorted(won) == [False, True]
    assert await repeats[0].claim("user:a", "r", b"f", b"x") == outcomes[won.index(True)]
    assert not await repeats[0].take_over("user:b", "r", b"str_0 nod_dead", b"x")
