"""Tasks that nobody awaits: kept until they end, and told of when they fail."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from tests.core.streams.virtual_loop import VirtualLoop
from tests.support.virtual_time import pass_time, virtual
from wsserver.core.errands import Errands


@virtual
async def test_an_errand_is_kept_until_it_has_ended() -> None:
    """One that nobody else refers to is done to its end, and is under way until then."""
    errands = Errands("it failed")
    done: list[str] = []

    async def work() -> None:
        await pass_time(1.0)
        done.append("done")

    errands.begin(work())
    await pass_time(0.5)
    gc.collect()
    assert len(errands) == 1
    await pass_time(1.0)
    assert (done, len(errands)) == (["done"], 0)


@virtual
async def test_the_end_of_all_is_waited_for() -> None:
    """What an errand begins meanwhile is waited for, too."""
    errands = Errands("it failed")

    async def work(more: int) -> None:
        await pass_time(1.0)
        if more:
            errands.begin(work(more - 1))

    errands.begin(work(3))
    assert await errands.ended()
    assert asyncio.get_running_loop().time() == 4.0


@virtual
async def test_the_wait_for_the_end_has_a_bound() -> None:
    """It ends in time with False, and what is under way goes on."""
    errands = Errands("it failed")
    errands.begin(pass_time(5.0))
    assert not await errands.ended(within=2.0)
    assert asyncio.get_running_loop().time() == 2.0
    assert await errands.ended()
    assert asyncio.get_running_loop().time() == 5.0


@virtual
async def test_a_cancelled_errand_is_no_failure() -> None:
    """It ends, also before its first step, and the loop is told nothing."""
    errands = Errands("it failed")
    errands.begin(pass_time(5.0))
    await pass_time(1.0)
    errands.begin(pass_time(5.0))
    errands.cancel()
    assert len(errands) == 2
    assert await errands.ended()


def test_what_an_errand_raises_is_told_once() -> None:
    """The loop hears at once what failed and why; who awaits the task is told as well."""
    told: list[dict[str, Any]] = []
    failures: list[type[BaseException]] = []

    async def fail() -> None:
        raise LookupError("nothing there")

    async def run() -> None:
        errands = Errands("an answer could not be read")
        errands.begin(fail())
        task = errands.begin(fail())
        try:
            await task
        except LookupError as error:
            failures.append(type(error))
        assert await errands.ended()
        assert len(told) == 2

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: told.append(context))
        runner.run(run())
        gc.collect()
    assert failures == [LookupError]
    assert [context["message"] for context in told] == ["an answer could not be read"] * 2
    assert {type(context["exception"]) for context in told} == {LookupError}
