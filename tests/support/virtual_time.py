"""Tests of asynchronous core on virtual time: an hour of timeouts passes at once.

For code without I/O. Where nothing is ready the clock jumps to the next timer; where no timer is
left either the test fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from tests.core.streams.virtual_loop import VirtualLoop

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a `VirtualLoop` of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            assert loop.failures == []

    return run


async def pass_time(seconds: float) -> None:
    """Let so much virtual time pass."""
    await asyncio.sleep(seconds)  # takes none of the real one


async def until(condition: Callable[[], bool], seconds: float = 3600.0) -> None:
    """Let virtual time pass, millisecond by millisecond, until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await pass_time(0.001)
