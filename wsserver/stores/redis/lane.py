"""All that one process asks of one Redis: what one tick of the event loop asks is one pipeline.

One pipeline at a time is under way; what is asked meanwhile waits and goes out together as the
next one. So a thousand writers cost as much as one, and the order of asking is the order of doing.
The client library repeats nothing by itself: what was under way when a connection broke is asked
once more here, so **a step may be done twice**. A Redis that brings no answer in time is cut off,
and everything that waits for it fails: nobody waits for one that hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisClusterException, RedisError, ResponseError

ANSWER_SECONDS = 2.0
"""For an answer, a new connection included; half of it for what is asked again. A step takes well
under a millisecond; a Redis that takes longer is away."""

MAX_WAITING = 20_000
"""Commands at once, sent and unsent: past that the process asks more than Redis can do."""

AT_ONCE = 256
"""Commands in one pipeline: packing them and reading their replies keeps the loop some 5 ms."""

Value = str | bytes | int | float
Command = tuple[Value, ...]
"""Its name and arguments; numbers go out as text."""

FAULTS: Final = (RedisError, RedisClusterException, OSError)
"""What the client library raises when Redis can't be reached, or a cluster is none just now."""

Run = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Has commands run as one pipeline. A reply is what Redis said, or the error it means; what holds
for none of them alone is raised, as one of `FAULTS`."""


class Lost(Exception):
    """No connection can be made, it broke twice, or brought no answer in time."""


class Unreached(Lost):
    """No connection can be made, or it broke twice: at once, not after a silence."""


class _Asked(NamedTuple):
    command: Command
    reply: asyncio.Future[Any]


class Lane:
    """The way to one Redis.

    Args:
        run: Runs commands there.
        on_change: Called when `is_up` has changed.
    """

    def __init__(self, run: Run, on_change: Callable[[], None]) -> None:
        self.is_up = True  # as far as is known: nothing was asked yet
        self._run = run
        self._on_change = on_change
        self._waiting: list[_Asked] = []
        self._under_way: list[_Asked] = []
        self._broke = False  # what is first in line was under way when a connection broke
        self._working: asyncio.Task[None] | None = None
        self._is_closed = False

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """Have a command run. Errors that Redis replies with are results (`ResponseError`).

        The future raises `Lost` if there is no answer.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        if self._is_closed or len(self._waiting) + len(self._under_way) >= MAX_WAITING:
            reply.set_exception(Lost("closed" if self._is_closed else "too much is waiting"))
            return reply
        self._waiting.append(_Asked(command, reply))
        if self._working is None:
            self._working = loop.create_task(self._work())
        return reply

    async def close(self) -> None:
        """End it; what is under way fails."""
        self._is_closed = True
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait({self._working})

    async def _work(self) -> None:
        try:
            while self._take_some():
                await self._ask_some()
                # Who was answered just now asks on, and that shall be in the next pipeline.
                await asyncio.sleep(0)
        finally:
            self._working = None
            self._fail("closed")  # nothing is left, but where this was cancelled

    def _take_some(self) -> bool:
        """Put what is next under way. Whoever does not wait any more is left out."""
        some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        self._under_way = [asked for asked in some if not asked.reply.done()]
        return bool(self._under_way or self._waiting)

    async def _ask_some(self) -> None:
        if not self._under_way:
            return  # nobody waits any more, which says nothing of Redis
        limit = ANSWER_SECONDS / 2 if self._broke else ANSWER_SECONDS
        try:
            # The library's own limits cost a timer for each reply.
            async with asyncio.timeout(limit):
                replies = await self._run([asked.command for asked in self._under_way])
        except TimeoutError:
            self._fail(f"no answer within {limit:g} s")
            self._tell(is_up=False)
        except FAULTS as error:
            self._lose(self._under_way, error)
        else:
            self._answer(replies)

    def _answer(self, replies: list[Any]) -> None:
        lost = []
        error: Exception | None = None
        for asked, reply in zip(self._under_way, replies, strict=True):
            if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
                lost.append(asked)
                error = reply
            elif not asked.reply.done():  # whoever asked may have gone
                asked.reply.set_result(reply)
        if error is not None:
            self._lose(lost, error)
            return
        self._broke = False
        self._under_way = []
        self._tell(is_up=True)

    def _lose(self, lost: list[_Asked], error: Exception) -> None:
        """The connection broke: ask once more, before all else, or give up."""
        self._under_way = []
        self._waiting[:0] = lost
        if not self._broke:
            self._broke = True
            return
        self._fail(str(error) or type(error).__name__, Unreached)
        self._tell(is_up=False)

    def _fail(self, reason: str, kind: type[Lost] = Lost) -> None:
        for asked in (*self._under_way, *self._waiting):
            if not asked.reply.done():
                asked.reply.set_exception(kind(reason))
        self._under_way, self._waiting = [], []
        self._broke = False

    def _tell(self, *, is_up: bool) -> None:
        if self.is_up is not is_up:
            self.is_up = is_up
            self._on_change()
