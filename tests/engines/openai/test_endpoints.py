"""Which endpoint is next, and which one rests."""

from __future__ import annotations

import pytest

from wsserver.engines.openai import faults
from wsserver.engines.openai.dialect import GENERIC
from wsserver.engines.openai.endpoints import Breaker, Circuit, Endpoint, Endpoints

SERVERS = faults.broken("cut off")
REQUESTS = faults.of_status(400, b"{}", None, ())


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At zero."""
    return Clock()


def endpoints(clock: Clock, count: int = 1) -> Endpoints:
    """Some that rest for 10 s after 3 faults in a row."""
    return Endpoints(
        [Endpoint(f"http://{n}/v1", GENERIC, Breaker(3, 10.0, clock)) for n in range(count)]
    )


def fail(endpoint: Endpoint, fault: faults.Fault = SERVERS) -> None:
    """An attempt that fails."""
    with pytest.raises(faults.Fault), endpoint.attempt():
        raise fault


def test_least_busy_is_next_and_equals_take_turns(clock: Clock) -> None:
    """Load decides, then whose turn is longest ago."""
    pool = endpoints(clock, 3)
    first, second, third = pool.all
    assert [pool.choose() for _ in range(4)] == [first, second, third, first]
    with second.attempt(), third.attempt(), third.attempt():
        assert pool.choose() is first
        with first.attempt(), first.attempt():
            assert pool.choose() is second
    assert (first.running, second.running, third.running) == (0, 0, 0)


def test_one_not_tried_before_comes_first(clock: Clock) -> None:
    """A second attempt goes elsewhere, however busy it is there; with nowhere else, back."""
    pool = endpoints(clock, 2)
    first, second = pool.all
    with second.attempt():
        assert pool.choose([first]) is second
        assert pool.choose([first, second]) is first


def test_endpoint_rests_after_faults_in_a_row(clock: Clock) -> None:
    """The third fault opens; a success between two faults starts the count again."""
    pool = endpoints(clock)
    (endpoint,) = pool.all
    fail(endpoint)
    fail(endpoint)
    with endpoint.attempt():
        pass
    fail(endpoint)
    fail(endpoint)
    assert pool.choose() is endpoint
    fail(endpoint)
    assert pool.choose() is None
    clock.now = 9.9
    assert pool.choose() is None


def test_bad_requests_never_count(clock: Clock) -> None:
    """Whatever clients send wrongly, others are served; it even proves that the server lives."""
    pool = endpoints(clock)
    (endpoint,) = pool.all
    fail(endpoint)
    fail(endpoint)
    for _ in range(50):
        fail(endpoint, REQUESTS)
    fail(endpoint)
    fail(endpoint)
    assert pool.choose() is endpoint


def test_after_its_pause_one_request_finds_out(clock: Clock) -> None:
    """Half open lets one through; its first token opens the way for all."""
    pool = endpoints(clock)
    (endpoint,) = pool.all
    endpoint.breaker.open()
    clock.now = 10.0
    assert pool.choose() is endpoint
    with endpoint.attempt():
        assert pool.choose() is None
        endpoint.breaker.show_life()
        assert pool.choose() is endpoint
    assert endpoint.breaker.circuit is Circuit.CLOSED


def test_failed_probe_rests_again(clock: Clock) -> None:
    """One fault is enough then, and the pause begins anew."""
    pool = endpoints(clock)
    (endpoint,) = pool.all
    endpoint.breaker.open()
    clock.now = 12.0
    fail(endpoint)
    clock.now = 21.9
    assert pool.choose() is None
    clock.now = 22.0
    assert pool.choose() is endpoint


def test_cancelled_probe_leaves_the_way_to_the_next(clock: Clock) -> None:
    """A probe that its client stopped says nothing, and must not block the endpoint for ever."""
    pool = endpoints(clock)
    (endpoint,) = pool.all
    endpoint.breaker.open()
    clock.now = 10.0
    with pytest.raises(KeyboardInterrupt), endpoint.attempt():
        raise KeyboardInterrupt
    assert endpoint.breaker.circuit is Circuit.OPEN
    assert pool.choose() is endpoint


def test_server_that_always_breaks_off_rests_at_last(clock: Clock) -> None:
    """First tokens alone are no success."""
    (endpoint,) = endpoints(clock).all
    for _ in range(3):
        with pytest.raises(faults.Fault), endpoint.attempt():
            endpoint.breaker.show_life()
            raise SERVERS
    assert endpoint.breaker.circuit is Circuit.OPEN
