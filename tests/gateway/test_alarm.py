"""Alarms ring once, in time, in turns that leave room for others."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

from tests.core.streams.virtual_loop import VirtualLoop
from tests.support.virtual_time import pass_time, virtual
from wsserver.gateway.alarm import AT_ONCE, Alarm, Clock


class Bell:
    """An alarm that notes when it rang."""

    def __init__(self, clock: Clock) -> None:
        self.rang: list[float] = []
        self.alarm = Alarm(clock, self._ring)

    def _ring(self) -> None:
        self.rang.append(round(asyncio.get_running_loop().time(), 6))


def a_clock() -> Clock:
    """The clock of this test."""
    return Clock(asyncio.get_running_loop())


@virtual
async def test_it_rings_once_within_a_millisecond() -> None:
    """Never before its time, at most a millisecond after it, and not again."""
    bell = Bell(a_clock())
    for when, due in ((0.005, 0.005), (0.0101, 0.011), (0.02, 0.02)):
        bell.alarm.set(when)
        assert bell.alarm.is_later
        await pass_time(when + 0.002 - asyncio.get_running_loop().time())
        assert not bell.alarm.is_later
        assert bell.rang[-1] == due
    assert len(bell.rang) == 3


@virtual
async def test_it_is_moved_forward_only() -> None:
    """The earliest of its times counts; to be later it is cancelled first."""
    bell = Bell(a_clock())
    for when in (0.03, 0.01, 0.02):
        bell.alarm.set(when)
    await pass_time(0.1)
    assert bell.rang == [0.01]
    bell.alarm.set(0.2)
    bell.alarm.cancel()
    assert not bell.alarm.is_later
    bell.alarm.set(0.3)
    await pass_time(0.3)
    assert bell.rang == [0.01, 0.3]


@virtual
async def test_what_is_due_rings_in_the_next_turn() -> None:
    """Not within `set`, and where it is set again while it rings, not before others had a turn."""
    clock = a_clock()
    turns: list[str] = []

    def ring() -> None:
        turns.append("alarm")
        if len(turns) < 6:
            asyncio.get_running_loop().call_soon(turns.append, "other")
            alarm.set(0.0)

    alarm = Alarm(clock, ring)
    alarm.set(-1.0)
    assert turns == []
    await pass_time(0.001)
    assert turns[:6] == ["alarm", "other"] * 3


@virtual
async def test_all_of_a_millisecond_ring_in_order_and_in_turns() -> None:
    """Hundreds at one time: each rings, as they were set, and others get a turn in between."""
    clock = a_clock()
    rang: list[int] = []
    alarms = [Alarm(clock, partial(rang.append, number)) for number in range(500)]
    for alarm in alarms:
        alarm.set(0.01)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(rang))
        if len(rang) < 500:
            asyncio.get_running_loop().call_soon(look)

    asyncio.get_running_loop().call_at(0.01, look)
    await pass_time(0.02)
    assert rang == list(range(500))
    assert max(later - earlier for earlier, later in pairwise(seen)) == AT_ONCE


async def test_what_is_always_due_keeps_nobody_waiting() -> None:
    """Hundreds that are set again in each turn, in real time: one with a beat rings, too."""
    clock, rang = a_clock(), asyncio.Event()
    busy: list[Alarm] = []

    def again(number: int) -> None:
        if not rang.is_set():
            busy[number].set(0.0)

    busy += [Alarm(clock, partial(again, number)) for number in range(5 * AT_ONCE)]
    for alarm in busy:
        alarm.set(0.0)
    with_a_beat = Alarm(clock, rang.set)
    with_a_beat.set(asyncio.get_running_loop().time() + 0.005)
    async with asyncio.timeout(10):
        await rang.wait()


@virtual
async def test_one_that_is_cancelled_while_others_ring() -> None:
    """What an alarm cancels or moves does not ring with it, though its time has come."""
    clock = a_clock()
    bells = [Bell(clock) for _ in range(4)]

    def disturb() -> None:
        bells[1].alarm.cancel()
        bells[2].alarm.cancel()
        bells[2].alarm.set(0.05)

    first = Alarm(clock, disturb)
    for alarm in (first, *[bell.alarm for bell in bells]):
        alarm.set(0.01)
    await pass_time(0.1)
    assert [bell.rang for bell in bells] == [[0.01], [], [0.05], [0.01]]


def test_a_callback_that_fails_stops_no_other() -> None:
    """The loop is told of the fault, and those who are due after it ring."""

    async def run() -> list[float]:
        clock = a_clock()
        failing = Alarm(clock, lambda: 1 // 0)  # type: ignore[arg-type]  # never returns
        bell = Bell(clock)
        for alarm in (failing, bell.alarm):
            alarm.set(0.01)
        await pass_time(0.1)
        bell.alarm.set(0.2)
        await pass_time(0.2)
        return bell.rang

    faults: list[object] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        assert runner.run(run()) == [0.01, 0.2]
    assert len(faults) == 1
    assert isinstance(faults[0], dict)
    assert isinstance(faults[0]["exception"], ZeroDivisionError)
