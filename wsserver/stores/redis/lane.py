"""All that one process asks of one Redis: one connection, one piece of writing a tick.

What is asked within one tick of the event loop goes out together, and replies are awaited without
holding up what comes after: so a thousand writers cost as many system calls as one, and the order
of asking is the order of doing. A connection that breaks is opened again by the next asking; what
was under way then is asked once more, so **a step may be done twice**. One that brings no answer
in time is cut, and everything under way fails: nobody waits for a Redis that hangs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wsserver.stores.redis.address import Address
from wsserver.stores.redis.connection import Command, Connection, Lost

ANSWER_SECONDS = 2.0
"""For an answer. A step takes well under a millisecond; a Redis that takes longer is away."""

MAX_WAITING = 20_000
"""Commands at once, sent and unsent: past that the process asks more than Redis can do."""

_ATTEMPTS = 2


@dataclass(slots=True)
class _Asked:
    command: Command
    reply: asyncio.Future[Any]
    since: float = 0.0  # when it was sent, in loop time
    attempts: int = 0


class Lane:
    """The way to one Redis.

    Args:
        address: Where it is.
        on_change: Called when `is_up` has changed.
    """

    def __init__(self, address: Address, on_change: Callable[[], None]) -> None:
        self.address = address
        self.is_up = True  # as far as is known: nothing was asked yet
        self._on_change = on_change
        self._unsent: list[_Asked] = []
        self._sent: deque[_Asked] = deque()
        self._connection: Connection | None = None
        self._flushing: asyncio.Handle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """Have a command run. Errors that Redis replies with are results (`Refusal`).

        The future raises `Lost` if there is no answer.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        if self._is_closed or len(self._unsent) + len(self._sent) >= MAX_WAITING:
            reply.set_exception(Lost("closed" if self._is_closed else "too much is waiting"))
            return reply
        self._unsent.append(_Asked(command, reply))
        if self._flushing is None:
            self._flushing = loop.call_soon(self._flush)
        return reply

    async def close(self) -> None:
        """End it; what is under way fails."""
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._flushing is not None:
            self._flushing.cancel()
        self._drop_connection()
        self._fail(Lost("closed"))

    def _flush(self) -> None:
        self._flushing = None
        connection = self._connection
        if connection is None or not connection.is_open:
            if self._opening is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        loop = asyncio.get_running_loop()
        batch = [asked for asked in self._unsent if not asked.reply.done()]
        self._unsent.clear()
        now = loop.time()
        for asked in batch:
            asked.since = now
            asked.attempts += 1
        self._sent.extend(batch)
        connection.write([asked.command for asked in batch])
        if self._watch is None and batch:
            self._watch = loop.call_at(now + ANSWER_SECONDS, self._look)

    async def _open(self) -> None:
        try:
            connection = await Connection.open(self.address)
        except Lost as error:
            self._opening = None
            self._fail(error)
            self._tell(is_up=False)
            return
        self._opening = None
        self._connection = connection
        connection.on_reply = self._take
        connection.on_lost = self._lose
        self._tell(is_up=True)
        self._flush()

    def _take(self, reply: Any) -> None:
        asked = self._sent.popleft()
        if not asked.reply.done():  # whoever asked may have gone
            asked.reply.set_result(reply)

    def _lose(self, error: Lost) -> None:
        """The connection broke: ask again what may have been lost, and give up what was twice."""
        self._drop_connection()
        again = []
        for asked in self._sent:
            if asked.attempts < _ATTEMPTS:
                again.append(asked)
            elif not asked.reply.done():
                asked.reply.set_exception(Lost(str(error)))
        self._sent.clear()
        self._unsent[:0] = again
        if self._unsent and self._flushing is None and not self._is_closed:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _look(self) -> None:
        """Cut a connection whose oldest answer is overdue."""
        self._watch = None
        if not self._sent:
            return
        loop = asyncio.get_running_loop()
        due = self._sent[0].since + ANSWER_SECONDS
        if loop.time() < due:
            self._watch = loop.call_at(due, self._look)
            return
        self._drop_connection()
        self._fail(Lost(f"no answer within {ANSWER_SECONDS:g} s"))
        self._tell(is_up=False)

    def _drop_connection(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fail(self, error: Lost) -> None:
        for asked in (*self._sent, *self._unsent):
            if not asked.reply.done():
                asked.reply.set_exception(Lost(str(error)))
        self._sent.clear()
        self._unsent.clear()

    def _tell(self, *, is_up: bool) -> None:
        if self.is_up is not is_up:
            self.is_up = is_up
            self._on_change()
