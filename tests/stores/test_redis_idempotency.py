"""The same request under the same id is run once, whatever process it comes to."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import eventually
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.shared.ports import Became
from wsserver.stores.redis import RedisIdempotency, RedisLink
from wsserver.stores.redis.idempotency import _key
from wsserver_protocol.errors import ErrorCode, WireError


def own(outcome: bytes) -> Became:
    """What a claim is told that is the first one."""
    return Became(outcome, outcome, outcome)


async def heard(link: RedisLink) -> None:
    """Wait until all that is told without waiting has been heard."""
    await eventually(lambda: not link._errands)


async def test_one_of_many_runs_a_request(link: RedisLink) -> None:
    """Sent through several processes at once, a request is one's; the others learn what it is."""
    processes = [RedisIdempotency(link, 600) for _ in range(5)]
    outcomes = [f"str_{number}".encode() for number in range(5)]
    got = await asyncio.gather(
        *(p.claim("user:a", "r", b"f", o) for p, o in zip(processes, outcomes, strict=True))
    )
    assert len(set(got)) == 1
    assert got[0] == own(got[0].outcome)
    assert got[0].outcome in outcomes


async def test_an_id_is_for_one_request(link: RedisLink) -> None:
    """Another request under the same id is refused; another identity's is another request."""
    repeats = RedisIdempotency(link, 600)
    assert await repeats.claim("user:a", "r", b"f", b"one") == own(b"one")
    with pytest.raises(WireError) as refused:
        await repeats.claim("user:a", "r", b"other", b"two")
    assert refused.value.code is ErrorCode.DUPLICATE_REQUEST
    assert await repeats.claim("user:b", "r", b"other", b"two") == own(b"two")
    assert await repeats.claim("user:", "ar", b"other", b"three") == own(b"three")


async def test_who_only_looks_claims_nothing(link: RedisLink) -> None:
    """What a request has become is told, and that it has become nothing (any more)."""
    repeats = RedisIdempotency(link, 600)
    assert await repeats.look("user:a", "r", b"f") is None
    await repeats.claim("user:a", "r", b"f", b"one")
    assert await repeats.look("user:a", "r", b"f") == b"one"
    assert await repeats.look("user:a", "r", None) == b"one"
    with pytest.raises(WireError) as refused:
        await repeats.look("user:a", "r", b"other")
    assert refused.value.code is ErrorCode.DUPLICATE_REQUEST
    repeats.release("user:a", "r", b"one")
    await heard(link)
    assert await repeats.look("user:a", "r", b"f") is None


async def test_what_a_request_became_is_replaced_by_its_end(link: RedisLink) -> None:
    """After its end a request is answered with the end, for the retention."""
    repeats = RedisIdempotency(link, 60)
    await repeats.claim("user:a", "r", b"f", b"running")
    assert 0 < await link.command("PTTL", _key("user:a", "r")) <= 86_400_000
    repeats.settle("user:a", "r", b"another's", b"another's end")
    repeats.settle("user:a", "r", b"running", b"the end")
    await heard(link)
    assert (await repeats.claim("user:a", "r", b"f", b"again")).outcome == b"the end"
    assert 0 < await link.command("PTTL", _key("user:a", "r")) <= 60_000


async def test_what_never_was_may_be_asked_again(link: RedisLink) -> None:
    """A request that was refused leaves its id free, also for another request; whoever sends the
    same again is told what it was to become; an end without a beginning leaves nothing."""
    repeats = RedisIdempotency(link, 60)
    await repeats.claim("user:a", "r", b"f", b"one")
    repeats.release("user:a", "r", b"one")
    await heard(link)
    assert await repeats.claim("user:a", "r", b"f", b"two") == Became(b"two", b"one", b"one")
    repeats.release("user:a", "r", b"one")  # late, or once more
    await heard(link)
    assert (await repeats.claim("user:a", "r", b"f", b"x")).outcome == b"two"
    repeats.release("user:a", "r", b"two")
    await heard(link)
    assert await repeats.claim("user:a", "r", b"f", b"three") == Became(b"three", b"two", b"one")
    repeats.release("user:a", "r", b"three")
    await heard(link)
    assert await repeats.claim("user:a", "r", b"another", b"four") == own(b"four")
    repeats.settle("user:a", "unknown", b"one", b"the end")
    await heard(link)
    assert await repeats.claim("user:a", "unknown", b"f", b"one") == own(b"one")


async def test_a_claim_done_twice_is_one(link: RedisLink) -> None:
    """A step that ran again because its reply was lost still says that the request is one's own."""
    repeats = RedisIdempotency(link, 60)
    for _ in range(2):
        assert await repeats.claim("a", "r", b"f", b"one") == own(b"one")
    repeats.release("a", "r", b"one")
    await heard(link)
    for _ in range(2):
        assert await repeats.claim("a", "r", b"f", b"two") == Became(b"two", b"one", b"one")


async def test_without_redis_nothing_is_run(link: RedisLink) -> None:
    """Who can't know whether a request ran already is told so."""
    repeats = RedisIdempotency(link, 60)
    await link.close()
    with pytest.raises(StoreUnavailable):
        await repeats.claim("user:a", "r", b"f", b"running")


async def test_a_refusal_is_told_to_a_redis_that_was_away(link: RedisLink) -> None:
    """What a request did not become is said until it is heard: else its repeats would wait for it
    as long as its process lives."""
    repeats = RedisIdempotency(link, 60)
    await repeats.claim("a", "r", b"f", b"one")
    await link.everywhere("CLIENT", "PAUSE", 2500, "ALL")
    repeats.release("a", "r", b"one")
    await eventually(lambda: not link.is_up)
    await heard(link)
    assert (await repeats.claim("a", "r", b"f", b"two")).outcome == b"two"


async def test_what_will_never_be_is_taken_over_once(link: RedisLink) -> None:
    """Of those who find that a request's process has died one has it from then on."""
    repeats = [RedisIdempotency(link, 600) for _ in range(3)]
    await repeats[0].claim("user:a", "r", b"f", b"str_0 nod_dead")
    outcomes = [b"str_1 nod_1", b"str_2 nod_2"]
    won = await asyncio.gather(
        *(
            one.take_over("user:a", "r", b"str_0 nod_dead", outcome)
            for one, outcome in zip(repeats[1:], outcomes, strict=True)
        )
    )
    assert sorted(won) == [False, True]
    taken = outcomes[won.index(True)]
    became = Became(taken, b"str_0 nod_dead", b"str_0 nod_dead")
    assert await repeats[0].claim("user:a", "r", b"f", b"x") == became
    assert not await repeats[0].take_over("user:b", "r", b"str_0 nod_dead", b"x")
