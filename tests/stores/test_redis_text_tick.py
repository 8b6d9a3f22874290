"""When text is written: how often, and along with what."""

from __future__ import annotations

import asyncio

from tests.support.virtual_time import pass_time, virtual
from wsserver.stores.redis.text_tick import FLUSH_SECONDS, GRACE_SECONDS, TextTick

ENGINE_STEP = 1 / 60


def noted() -> tuple[TextTick, list[float]]:
    """A tick, and when it flushed."""
    flushes: list[float] = []
    return TextTick(lambda: flushes.append(asyncio.get_running_loop().time())), flushes


@virtual
async def test_a_writing_goes_out_with_an_engines_step() -> None:
    """While an engine makes text nothing is written but with it: three steps of 60 a second."""
    tick, flushes = noted()
    steps = []
    for _ in range(60):
        await pass_time(ENGINE_STEP)
        steps.append(asyncio.get_running_loop().time())
        tick.in_time()
    await pass_time(1)
    assert set(flushes) <= set(steps)
    assert len(flushes) == 20


@virtual
async def test_text_waits_for_no_further_one() -> None:
    """The last text of all is written in time, though nothing comes after it."""
    tick, flushes = noted()
    tick.soon()
    await pass_time(FLUSH_SECONDS / 2)
    tick.in_time()
    await pass_time(FLUSH_SECONDS)
    first, last = flushes
    assert last - first <= FLUSH_SECONDS + GRACE_SECONDS + 0.001


@virtual
async def test_what_is_urgent_takes_along_what_waits() -> None:
    """A first text goes at once, and what was to go later goes with it."""
    tick, flushes = noted()
    tick.soon()
    await pass_time(0.01)
    tick.in_time()
    tick.soon()
    tick.soon()
    await pass_time(1)
    assert len(flushes) == 2


@virtual
async def test_a_stopped_tick_is_silent() -> None:
    """Nothing is written by a log that was closed."""
    tick, flushes = noted()
    tick.soon()
    tick.at(asyncio.get_running_loop().time() + 1)
    tick.stop()
    await pass_time(2)
    assert flushes == []
