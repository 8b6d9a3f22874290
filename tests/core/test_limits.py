"""The rate limit against a model of it that is too slow to be wrong, and the places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.limits import LimitPolicy, MemoryLimits, Meter
from wsserver_protocol.errors import ErrorCode, WireError

EPSILON = 1e-6


class Bucket:
    """A bucket of ``burst`` units that fills with ``rate`` a period: what GCRA is equal to."""

    def __init__(self, rate: float, period: float, burst: float) -> None:
        self.speed, self.burst = rate / period, burst
        self.level, self.at = burst, 0.0

    def advance(self, now: float) -> None:
        """Let the time pass."""
        self.level = min(self.burst, self.level + (now - self.at) * self.speed)
        self.at = now


steps = st.lists(
    st.tuples(st.floats(0, 30), st.integers(1, 4), st.sampled_from(["a", "b"])), max_size=60
)


@given(rate=st.integers(1, 20), burst=st.integers(1, 20), takes=steps)
def test_a_meter_is_a_bucket(rate: int, burst: int, takes: list[tuple[float, int, str]]) -> None:
    """What is spent, refused and waited for is what a bucket says, for each key by itself."""
    meter = Meter(rate, 60.0, burst)
    buckets = {key: Bucket(rate, 60.0, burst) for key in "ab"}
    now = 0.0
    for pause, cost, key in takes:
        now += pause
        bucket = buckets[key]
        bucket.advance(now)
        if abs(bucket.level - cost) < EPSILON:
            return  # a draw: rounding decides
        wait = meter.take(key, cost, now)
        if cost > burst:
            assert wait == float("inf")
        elif bucket.level >= cost:
            assert wait == 0.0
            bucket.level -= cost
        else:
            assert wait == pytest.approx((cost - bucket.level) / bucket.speed, abs=1e-6)
        assert abs(meter.remaining(key, now) - int(bucket.level + EPSILON)) <= (
            0 if abs(bucket.level - round(bucket.level)) > EPSILON else 1
        )
        assert meter.reset_in(key, now) == pytest.approx(
            (burst - bucket.level) / bucket.speed, abs=1e-6
        )


@given(charges=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 50)), max_size=30))
def test_what_was_used_is_waited_for(charges: list[tuple[float, int]]) -> None:
    """A charge past the limit makes the next `wait` as long as the excess takes to come back."""
    meter, bucket, now = Meter(30, 60.0), Bucket(30, 60.0, 30), 0.0
    for pause, tokens in charges:
        now += pause
        bucket.advance(now)
        meter.charge("k", tokens, now)
        bucket.level -= tokens
        expected = max(0.0, (1 - bucket.level) / bucket.speed)
        assert meter.wait("k", now) == pytest.approx(expected, abs=1e-6)


def test_a_rested_caller_uses_all_at_once_and_then_one_at_a_time() -> None:
    """A limit of 60 a minute: 60 now, then one each second."""
    meter = Meter(60)
    assert [meter.take("k", 1, 0.0) for _ in range(60)] == [0.0] * 60
    assert meter.take("k", 1, 0.0) == pytest.approx(1.0)
    assert meter.take("k", 1, 1.0) == 0.0
    assert meter.take("k", 1, 1.5) == pytest.approx(0.5)
    assert [meter.take("k", 1, 61.0) for _ in range(60)] == [0.0] * 60


def test_no_limit() -> None:
    """A rate of zero limits nothing and counts nothing."""
    meter = Meter(0)
    assert [meter.take("k", 1000, 0.0) for _ in range(3)] == [0.0] * 3
    assert (meter.wait("k", 0.0), meter.remaining("k", 0.0), meter.reset_in("k", 0.0)) == (0, 0, 0)


def test_rested_keys_are_forgotten() -> None:
    """Whoever has rested costs no memory."""
    meter = Meter(60)
    for number in range(1000):
        meter.take(f"caller-{number}", 1, number / 1000)
    for now in (120.0, 240.0):
        meter.take("late", 1, now)
    assert len(meter._arrival) == 1


def test_places_are_given_and_taken_back() -> None:
    """As many answers at once as the policy says, per key."""
    limits = MemoryLimits(LimitPolicy(max_concurrent_streams=2))
    limits.begin("a", "str_1")
    limits.begin("a", "str_2")
    assert not limits.has_place("a")
    with pytest.raises(WireError) as refused:
        limits.begin("a", "str_3")
    assert refused.value.code is ErrorCode.TOO_MANY_STREAMS
    limits.begin("b", "str_4")
    limits.end("a", "str_1")
    limits.begin("a", "str_3")
    for key in "aab":
        limits.end(key, "str_1")
    assert limits.report("a", 0.0).concurrent_remaining == 2


def test_a_refused_request_spends_nothing() -> None:
    """When tokens are used up, the request limit is not charged either."""
    limits = MemoryLimits(LimitPolicy(requests_per_minute=5, tokens_per_minute=10))
    limits.admit("a", 1, 0.0)
    limits.use_tokens("a", 40, 0.0)
    with pytest.raises(WireError) as refused:
        limits.admit("a", 1, 0.0)
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retry_after == pytest.approx(31 * 6000, abs=2)
    report = limits.report("a", 0.0)
    assert (report.requests_remaining, report.tokens_remaining) == (4, 0)
