"""What goes to many is written at once, and still in its place among the rest."""

from __future__ import annotations

from tests.gateway.test_outbox import HIGH_WATER, Network, control
from tests.support.virtual_time import pass_time, virtual
from wsserver.gateway.outbox import MAX_CONTROL_FRAMES


@virtual
async def test_it_does_not_wait_where_nothing_waits() -> None:
    """It is with the socket when the call returns."""
    network = Network()
    network.outbox.send_now(control(1))
    assert [frame["number"] for _, frame in network.frames] == [1]


@virtual
async def test_it_goes_behind_what_was_sent_before() -> None:
    """A reply that waits for its turn of the loop is not overtaken."""
    network = Network()
    network.outbox.send(control(1))
    network.outbox.send_now(control(2))
    network.outbox.send(control(3))
    network.outbox.send_now(control(4))
    await pass_time(0.01)
    assert [frame["number"] for _, frame in network.frames] == [1, 2, 3, 4]


@virtual
async def test_it_waits_for_a_slow_reader_within_the_bound() -> None:
    """As any control frame: in order, so many at most, and then the connection is given up."""
    network = Network()
    network.stop_reading()
    network.outbox.send_now(b'{"type":"pong","padding":"%s"}' % (b"x" * HIGH_WATER))
    assert not network.is_writable
    for number in range(MAX_CONTROL_FRAMES):
        network.outbox.send_now(control(number))
    assert network.stalls == []
    network.read()
    await pass_time(0.01)
    assert [frame["number"] for _, frame in network.frames[1:]] == list(range(MAX_CONTROL_FRAMES))
    network.stop_reading()
    network.outbox.send_now(b'{"type":"pong","padding":"%s"}' % (b"x" * HIGH_WATER))
    for number in range(MAX_CONTROL_FRAMES + 1):
        network.outbox.send_now(control(number))
    assert len(network.stalls) == 1


@virtual
async def test_a_closed_outbox_sends_nothing_now() -> None:
    """After `close` it is silent."""
    network = Network()
    network.outbox.close()
    network.outbox.send_now(control(1))
    await pass_time(0.01)
    assert network.frames == []
