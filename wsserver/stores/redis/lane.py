"""All that one process asks of one Redis: what one tick of the event loop asks is one writing.

One writing at a time is under way; what is asked meanwhile waits and goes out together as the next
one. So a thousand writers cost as much as one, and the order of asking is the order of doing. What
was under way when a connection broke is asked once more, so **a step may be done twice**. A Redis
that brings no answer in time is cut off, and everything that waits for it fails: nobody waits for
one that hangs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, ResponseError, TryAgainError

from wsserver.stores.redis.pipe import FAULTS, Command, Pipe, Value

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""For an answer, a new connection included; half of it for what is asked again. A step takes well
under a millisecond; a Redis that takes longer is away."""

STOOD_STILL = 0.2
"""Seconds by which the look at that time limit is late where it was not Redis that stood still, but
this process: uvloop rings timers before it reads the replies that have come meanwhile."""

MAX_WAITING = 20_000
"""Commands at once, sent and unsent: past that the process asks more than Redis can do."""

AT_ONCE = 256
"""Commands in one writing: packing them and reading their replies keeps the loop some 2 ms."""

Shapes = Mapping[Any, Callable[[Any], Any]]
"""What is made of a command's reply, by its name."""


class Lost(Exception):
    """No connection can be made, it broke twice, or brought no answer in time.

    Attributes:
        was_sent: It may have been done.
    """

    def __init__(self, reason: str, *, was_sent: bool = False) -> None:
        super().__init__(reason)
        self.was_sent = was_sent


class Unreached(Lost):
    """No connection can be made, or it broke twice: at once, not after a silence."""


class _Asked:
    """A command, and who gets its reply: a future, or a callback."""

    __slots__ = ("answered", "command", "reply", "was_sent")

    def __init__(
        self,
        command: Command,
        reply: asyncio.Future[Any] | None,
        answered: Callable[[Any], None] | None,
    ) -> None:
        self.command = command
        self.reply = reply
        self.answered = answered
        self.was_sent = False

    @property
    def is_wanted(self) -> bool:
        """Whoever waited may have gone."""
        return self.reply is None or not self.reply.done()

    def answer(self, reply: Any) -> None:
        """``reply``: what Redis said, or `Lost`."""
        future = self.reply
        if future is None:
            assert self.answered is not None
            try:
                self.answered(reply)
            except Exception:  # nor may it spoil the replies of others
                log.exception("a reply of Redis could not be taken")
        elif not future.done():
            if isinstance(reply, Lost):
                future.set_exception(reply)
            else:
                future.set_result(reply)


class Lane:
    """The way to one Redis.

    Args:
        connect: Makes a connection to it, not connected yet; raises `Lost` where there is no such
            host any more.
        follow: Runs a command where Redis says that its key is now; None where there is no cluster.
        shapes: Of plain commands' replies.
        on_change: Called when `is_up` has changed.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        follow: Callable[[Command], Awaitable[Any]] | None,
        shapes: Shapes,
        on_change: Callable[[], None],
    ) -> None:
        self.is_up = True  # as far as is known: nothing was asked yet
        self._connect = connect
        self._follow = follow
        self._shapes = shapes
        self._on_change = on_change
        self._waiting: deque[_Asked] = deque()
        self._under_way: deque[_Asked] = deque()
        self._elsewhere: deque[_Asked] = deque()  # of what was under way: its key has moved
        self._refused: deque[_Asked] = deque()  # likewise: by a Redis that is not ready
        self._refusal = ""
        self._broke = False  # what is first in line was under way when a connection broke
        self._pipe: Pipe | None = None
        self._working: asyncio.Task[None] | None = None  # connects, or follows what has moved
        self._writing: asyncio.Handle | None = None
        self._limit = self._due = 0.0  # of what is under way
        self._is_excused = False  # the limit counts anew, since this process stood still
        self._watchdog: asyncio.TimerHandle | None = None
        self._is_closed = False

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """Have a command run. Errors that Redis replies with are results (`ResponseError`).

        The future raises `Lost` if there is no answer.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._add(_Asked(command, reply, None))
        return reply

    def post(self, command: Command, answered: Callable[[Any], None]) -> None:
        """As `ask`, without a future: ``answered`` is called with the reply, an error or `Lost`,
        later than this returns. Must not raise."""
        self._add(_Asked(command, None, answered))

    async def close(self) -> None:
        """End it; what is under way fails."""
        self._is_closed = True
        working = self._working
        self._break_off()
        self._fail("closed")
        for handle in (self._writing, self._watchdog):
            if handle is not None:
                handle.cancel()
        if working is not None:
            await asyncio.wait({working})

    def _add(self, asked: _Asked) -> None:
        if self._is_closed or len(self._waiting) + len(self._under_way) >= MAX_WAITING:
            reason = Lost("closed" if self._is_closed else "too much is waiting")
            asyncio.get_running_loop().call_soon(asked.answer, reason)
            return
        self._waiting.append(asked)
        if not self._under_way:
            self._write_soon()

    def _write_soon(self) -> None:
        """After this tick: what else it asks, and who was answered in it, is to go along."""
        if self._writing is None:
            self._writing = asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writing = None
        waiting, under_way = self._waiting, self._under_way
        if under_way:
            return  # since it was asked for something is under way again
        while waiting and len(under_way) < AT_ONCE:
            asked = waiting.popleft()
            if asked.is_wanted:
                under_way.append(asked)
        if not under_way:
            return  # nobody waits any more, which says nothing of Redis
        self._watch()
        if self._pipe is None:
            self._work(self._open())
        else:
            self._send(self._pipe)

    def _send(self, pipe: Pipe) -> None:
        for asked in self._under_way:
            asked.was_sent = True
        pipe.write([asked.command for asked in self._under_way])

    async def _open(self) -> None:
        try:
            pipe = Pipe(self._connect(), self._hear, self._broken)
            await pipe.open()
        except (Lost, *FAULTS) as error:
            self._working = None
            self._lose(str(error) or type(error).__name__)
            return
        self._working = None
        self._pipe = pipe
        self._send(pipe)

    def _hear(self, reply: Any) -> None:
        asked = self._under_way.popleft()
        if not isinstance(reply, Exception):
            asked.answer(self._shaped(asked.command[0], reply))
        elif not isinstance(reply, ResponseError):
            asked.was_sent = False  # it says that it has not done it
            self._refused.append(asked)
            self._refusal = str(reply)
        elif self._follow is not None and isinstance(reply, (AskError, TryAgainError)):
            self._elsewhere.append(asked)
        else:
            asked.answer(reply)
        if not self._under_way:
            self._finish()

    def _shaped(self, name: Value, reply: Any) -> Any:
        shape = self._shapes.get(name)
        if shape is None:
            return reply
        try:
            return shape(reply)
        except Exception as error:  # whoever asked must be answered, whatever Redis says
            return ResponseError(f"no reply to {name!s}: {error!r}")

    def _finish(self) -> None:
        """All replies have come."""
        if self._elsewhere:
            self._under_way, self._elsewhere = self._elsewhere, self._under_way
            self._work(self._follow_all())
        elif self._refused:
            self._lose(self._refusal)
        else:
            self._broke = False
            if self._waiting:
                self._write_soon()
            self._tell(is_up=True)

    async def _follow_all(self) -> None:
        """What waits behind it does so until this is done."""
        assert self._follow is not None
        while self._under_way:
            command = self._under_way[0].command
            try:
                reply = await self._follow(command)
            except ResponseError as error:
                reply = error
            except (Lost, *FAULTS) as error:
                self._working = None
                self._lose(str(error) or type(error).__name__)
                return
            self._under_way.popleft().answer(reply)
        self._working = None
        self._finish()

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        self._working = asyncio.get_running_loop().create_task(work)

    def _broken(self, reason: str) -> None:
        """The connection has ended."""
        self._pipe = None
        if self._working is None and self._under_way:  # else nothing was under way on it
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        """Ask what is under way once more, before all else, or give up."""
        for lost in (self._under_way, self._elsewhere, self._refused):
            self._waiting.extendleft(reversed(lost))
            lost.clear()
        if not self._broke:
            self._broke = True
            self._write_soon()
            return
        self._fail(reason, Unreached)
        self._tell(is_up=False)

    def _watch(self) -> None:
        """One timer for all that comes: a time limit for each costs more than what is asked."""
        loop = asyncio.get_running_loop()
        self._limit = ANSWER_SECONDS / 2 if self._broke else ANSWER_SECONDS
        self._due = loop.time() + self._limit
        self._is_excused = False
        if self._watchdog is None:
            self._watchdog = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._watchdog = None
        loop = asyncio.get_running_loop()
        if not self._under_way:
            return
        now = loop.time()
        if now - self._due > STOOD_STILL and not self._is_excused:
            self._is_excused = True
            self._due = now + self._limit
        if now < self._due:
            self._watchdog = loop.call_at(self._due, self._look)
            return
        self._break_off()
        self._fail(f"no answer within {self._limit:g} s")
        self._tell(is_up=False)

    def _break_off(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _fail(self, reason: str, kind: type[Lost] = Lost) -> None:
        failed = [*self._refused, *self._elsewhere, *self._under_way, *self._waiting]
        for line in (self._refused, self._elsewhere, self._under_way, self._waiting):
            line.clear()
        self._broke = False
        for asked in failed:
            asked.answer(kind(reason, was_sent=asked.was_sent))

    def _tell(self, *, is_up: bool) -> None:
        if self.is_up is not is_up:
            self.is_up = is_up
            self._on_change()
