"""Limits over many processes: the meters of core, and places that nobody loses."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.redis import RedisProcess
from wsserver.core.limits import LimitPolicy, MemoryLimits
from wsserver.stores.redis import RedisLimits, RedisLink
from wsserver.stores.redis.limits import BELIEVED_MS, _keys
from wsserver_protocol.errors import ErrorCode, WireError

KEYS = itertools.count()

SLACK = 0.5
"""Seconds that a test may take, which pass for Redis but not for its twin."""

STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "admit", "use"]), st.integers(1, 70), st.integers(0, 40)),
    max_size=25,
)


async def all_live(streams: Sequence[str]) -> set[str]:
    return set(streams)


async def let_pass(link: RedisLink, key: str, seconds: float) -> None:
    """Let time pass for the meters of a key."""
    for name in _keys(key)[:2]:
        arrival = await link.command("GET", name)
        if arrival is not None:
            await link.command("SET", name, repr(float(arrival) - seconds))


def waited(limits: MemoryLimits, requests: int, now: float) -> WireError | None:
    try:
        limits.admit("k", requests, now)
    except WireError as refused:
        return refused
    return None


@given(STEPS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_meters_are_those_of_core(
    redis_server: RedisProcess, steps: list[tuple[str, int, int]]
) -> None:
    """What is charged, refused and waited for is what the embedded limits say."""

    async def run() -> None:
        link = RedisLink.open(redis_server.url)
        policy = LimitPolicy(requests_per_minute=60, tokens_per_minute=50)
        shared, memory = RedisLimits(link, policy, all_live), MemoryLimits(policy)
        key, now = f"key-{next(KEYS)}", 0.0
        try:
            for what, amount, pause in steps:
                # Half a second off: no decision is a draw that the time of the test would turn.
                now += pause + 0.5
                await let_pass(link, key, pause + 0.5)
                if what == "use":
                    await shared.use_tokens(key, amount)
                    memory.use_tokens("k", amount, now)
                elif not await agree(shared, memory, key, amount, now):
                    return
                await compare(shared, memory, key, now)
        finally:
            await link.close()

    asyncio.run(run())


async def agree(
    shared: RedisLimits, memory: MemoryLimits, key: str, amount: int, now: float
) -> bool:
    """Ask both for the same; False if their clocks are too near to a draw to compare."""
    expected = waited(memory, amount, now)
    refused = None
    try:
        await shared.admit(key, amount)
    except WireError as error:
        refused = error
    if (expected is None) != (refused is None):
        near = expected or refused
        assert near is not None
        assert near.retry_after is not None
        assert near.retry_after <= SLACK * 1000
        return False
    if expected is not None and refused is not None:
        assert (refused.code, refused.retryable) == (expected.code, expected.retryable)
        assert (refused.retry_after is None) == (expected.retry_after is None)
        if refused.retry_after and expected.retry_after:
            assert refused.retry_after == pytest.approx(expected.retry_after, abs=SLACK * 1000)
    return True


async def compare(shared: RedisLimits, memory: MemoryLimits, key: str, now: float) -> None:
    ours, theirs = await shared.report(key), await memory.report("k", now)
    assert abs(ours.requests_remaining - theirs.requests_remaining) <= 1
    assert abs(ours.tokens_remaining - theirs.tokens_remaining) <= 1
    assert ours.reset_in == pytest.approx(theirs.reset_in, abs=SLACK)
    assert (ours.requests_limit, ours.tokens_limit) == (theirs.requests_limit, theirs.tokens_limit)


async def test_a_limit_holds_over_all_processes(link: RedisLink, redis_url: str) -> None:
    """Whoever asks through several processes gets as much as through one."""
    policy = LimitPolicy(requests_per_minute=10)
    other = RedisLink.open(redis_url)
    processes = [RedisLimits(link, policy, all_live), RedisLimits(other, policy, all_live)]
    asked = [processes[number % 2].admit("a", 1) for number in range(40)]
    replies = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(reply is None for reply in replies) == 10
    assert {r.code for r in replies if isinstance(r, WireError)} == {ErrorCode.RATE_LIMITED}
    await processes[0].admit("b", 10)
    await other.close()


async def test_more_than_a_minute_allows_is_refused_for_good(link: RedisLink) -> None:
    """What no wait could help is not to be tried again."""
    limits = RedisLimits(link, LimitPolicy(requests_per_minute=5), all_live)
    with pytest.raises(WireError) as refused:
        await limits.admit("a", 6)
    assert not refused.value.retryable
    await limits.admit("a", 5)


async def test_places_hold_over_all_processes(link: RedisLink) -> None:
    """As many answers at once as the policy says; each has one place, and gives back one."""
    policy = LimitPolicy(max_concurrent_streams=2)
    first, second = RedisLimits(link, policy, all_live), RedisLimits(link, policy, all_live)
    await first.begin("a", "s1")
    await second.begin("a", "s1")  # sent again
    await second.begin("a", "s2")
    with pytest.raises(WireError) as refused:
        await first.begin("a", "s3")
    assert refused.value.code is ErrorCode.TOO_MANY_STREAMS
    await first.begin("b", "s3")
    await second.end("a", "s1")
    await second.end("a", "s1")
    assert (await first.report("a")).concurrent_remaining == 1
    await first.begin("a", "s4")


async def test_places_of_the_dead_are_found(link: RedisLink) -> None:
    """A place that nobody gave back is free once somebody needs it and its answer has ended.

    Not at once: an answer that was just accepted stands in no log yet.
    """
    ended: set[str] = set()

    async def living(streams: Sequence[str]) -> set[str]:
        return set(streams) - ended

    limits = RedisLimits(link, LimitPolicy(max_concurrent_streams=2), living)
    await limits.begin("a", "s1")
    await limits.begin("a", "s2")
    ended |= {"s1", "s2"}
    with pytest.raises(WireError):
        await limits.begin("a", "s3")
    long_ago = round(time.time() * 1000) - BELIEVED_MS - 1
    await link.command("ZADD", _keys("a")[2], "XX", long_ago, "s1")
    await limits.begin("a", "s3")
    with pytest.raises(WireError):
        await limits.begin("a", "s4")


async def test_a_request_enters_whole_or_not_at_all(link: RedisLink) -> None:
    """It is charged and has a place, or neither; one that is sent again is charged once."""
    policy = LimitPolicy(requests_per_minute=3, tokens_per_minute=10, max_concurrent_streams=2)
    limits = RedisLimits(link, policy, all_live)
    for stream_id in ("s1", "s1", "s2"):
        await limits.enter("a", stream_id)
    with pytest.raises(WireError) as refused:
        await limits.enter("a", "s3")
    assert refused.value.code is ErrorCode.TOO_MANY_STREAMS
    report = await limits.report("a")
    assert (report.requests_remaining, report.concurrent_remaining) == (1, 0)
    await limits.end("a", "s1")
    await limits.enter("a", "s3")
    await limits.end("a", "s3")
    with pytest.raises(WireError) as refused:
        await limits.enter("a", "s4")
    assert (refused.value.code, refused.value.retryable) == (ErrorCode.RATE_LIMITED, True)
    await limits.use_tokens("b", 30)
    with pytest.raises(WireError) as refused:
        await limits.enter("b", "s5")
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert (await limits.report("b")).concurrent_remaining == 2


async def test_who_entered_gets_back_what_it_took(link: RedisLink) -> None:
    """Once, and nothing where it was refused or never entered."""
    policy = LimitPolicy(requests_per_minute=3, max_concurrent_streams=3)
    limits = RedisLimits(link, policy, all_live)
    await limits.enter("a", "s1")
    await limits.enter("a", "s2")
    for stream_id in ("s2", "s2", "s9"):
        limits.undo("a", stream_id)
    async with asyncio.timeout(5):
        while (report := await limits.report("a")).concurrent_remaining < 2:
            await link.ping()
    assert (report.requests_remaining, report.concurrent_remaining) == (2, 2)
    limits.undo("a", "s1")
    async with asyncio.timeout(5):
        while (await limits.report("a")).reset_in > 0:
            await link.ping()


async def test_who_enters_finds_the_places_of_the_dead(link: RedisLink) -> None:
    """As whoever only takes a place; and without limits nothing but that is kept."""

    async def none_live(_: Sequence[str]) -> set[str]:
        return set()

    limits = RedisLimits(link, LimitPolicy(max_concurrent_streams=1), none_live)
    await limits.enter("a", "s1")
    with pytest.raises(WireError):
        await limits.enter("a", "s2")
    long_ago = round(time.time() * 1000) - BELIEVED_MS - 1
    await link.command("ZADD", _keys("a")[2], "XX", long_ago, "s1")
    await limits.enter("a", "s2")
    assert [await link.command("EXISTS", key) for key in _keys("a")] == [0, 0, 1]


async def test_every_key_of_a_limit_ends_by_itself(link: RedisLink) -> None:
    """Idle callers cost nothing."""
    policy = LimitPolicy(requests_per_minute=10, tokens_per_minute=10)
    limits = RedisLimits(link, policy, all_live)
    await limits.admit("a", 1)
    await limits.use_tokens("a", 30)
    await limits.begin("a", "s")
    ends = [await link.command("PTTL", key) for key in _keys("a")]
    assert 0 < ends[0] <= 6_000
    assert 0 < ends[1] <= 180_000
    assert 0 < ends[2] <= 86_400_000
