"""One room's changes as this process is told them: all, once, in order, whatever became of bells.

Bells bring changes, and so do the replies to this process's own steps; both go in here and come out
by their places. What is missing is read from Redis. While a client of this process enters, changes
are kept back: only its reply says from which place on it is there, and it must neither miss nor
repeat one.

A change has the mark of the one before it. One that does not fit what was told shows that Redis
has lost the end of its history, and gone on with another one under the same places. So does a
place that is behind. Then the log gets a new name (epoch), and everyone who sits here enters anew;
likewise if the room is gone, or has had more changes than Redis keeps.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from wsserver.core.rooms.changes import Asked, Broken, Change, Left, Logged, Withdrawn
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.rooms.format import Granted, Moved, Told, told_of

RETRY_SECONDS = 1.0
"""Between two readings while Redis is away."""

WATCH_SECONDS = 60.0
"""After which a room is looked at, should nothing at all have told of what was missed. It also
says that the room is needed: its keys would end otherwise."""

EARLY_KEPT = 2048
"""Changes that may wait for the first entering. What is left out is read."""

MARKS_KEPT = 512
"""Changes of which is known that they were told."""

READS = 3
"""Readings until a change that was just made has to be there."""


class Feed:
    """What one process knows of one room, and is told.

    Args:
        node: This process.
        tell: Told each change.
        since: Reads what came after a place; None: there is no such room.
        renew: Gives the log another epoch if it still has this one.
        idle: Called when nothing here needs the feed any more.

    Attributes:
        place: Of the last change that was told; None before anyone has entered.
        seats: Clients of this process that sit there.
        asks: Open asks of this process.
        entering: Steps under way of clients that enter.
    """

    def __init__(
        self,
        node: str,
        *,
        tell: Callable[[Change], None],
        since: Callable[[int], Awaitable[tuple[Granted, bool] | None]],
        renew: Callable[[str], Awaitable[None]],
        idle: Callable[[], None],
    ) -> None:
        self.place: int | None = None
        self.seats: set[str] = set()
        self.asks: set[str] = set()
        self.entering = 0
        self._node = node
        self._tell = tell
        self._since = since
        self._renew = renew
        self._idle = idle
        self._epoch = self._mark = ""
        self._early: dict[int, Told] = {}
        self._recent: deque[str] = deque(maxlen=MARKS_KEPT)
        self._reading: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.is_closed = self.is_broken = False

    @property
    def is_needed(self) -> bool:
        """Whether anyone here is to be told."""
        return bool(self.seats or self.asks or self.entering)

    # What comes in -----------------------------------------------------------------------------

    def ring(self, data: bytes) -> None:
        """A bell came."""
        if self.is_closed:
            return
        told = told_of(data)
        if self.place is None:
            if len(self._early) < EARLY_KEPT:
                self._early[told.place] = told
            return
        is_past = told.place <= self.place
        if told.epoch != self._epoch or (is_past and not self._has_told(told.mark)):
            self.doubt()
        elif told.place > self.place:
            self._early[told.place] = told
            if not self.entering:
                self._go_on()

    def _has_told(self, mark: str) -> bool:
        return mark == self._mark or mark in self._recent

    def doubt(self) -> None:
        """Bells may have been lost."""
        if not self.is_closed and self.place is not None and self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_until_done())

    def enter(self, granted: Granted, client_id: str) -> bool:
        """A client has entered, as a reply says. False if more was told already: it must look
        again. Else all up to its place has been told, and nothing after."""
        if self.place is None:
            self._begin(granted)
        else:
            self._advance(granted)
            if (self.place, self._mark) != (granted.place, granted.mark):
                self.doubt()
                return False
        self.seats.add(client_id)
        return not self.is_closed

    async def reach(self, granted: Granted) -> bool:
        """See to it that this process has been told what its own step changed.

        Returns:
            False if it has not, as the history broke.

        Raises:
            StoreUnavailable: If that has to be read and Redis is away.
        """
        for _ in range(READS):
            self._advance(granted)
            if self.is_closed or self.place is None or self.place >= granted.place:
                break
            await self._read()
        is_over = self.is_closed and not self.is_broken
        if self.place is None or is_over or not granted.news or granted.mark in self._recent:
            return True
        if not self.is_closed:  # before anyone is told of another history as if it were this one
            await self._renew(self._epoch)
            self._break()
        return False

    def entered(self) -> None:
        """A step of one that enters is over: what was kept back is told, but not before its caller
        has done with it what it does at once."""
        self.entering -= 1
        if not self.entering:
            asyncio.get_running_loop().call_soon(self._go_on)

    def close(self) -> None:
        """Tell nothing more."""
        self.is_closed = True
        for task in (self._reading, self._watch):
            if task is not None:
                task.cancel()

    # What is told ------------------------------------------------------------------------------

    def _begin(self, granted: Granted) -> None:
        self.place, self._mark, self._epoch = granted.place, granted.mark, granted.epoch
        early, self._early = self._early, {}
        self._take(list(early.values()))
        self._watch_later()

    def _take(self, news: list[Told]) -> None:
        assert self.place is not None
        self._early |= {told.place: told for told in news if told.place > self.place}

    def _advance(self, granted: Granted) -> None:
        """Tell all that a reply brings, and up to its place what came before."""
        if self.is_closed or self.place is None:
            return
        self._take(granted.news)
        self._drain(granted.place if self.entering else None)

    def _go_on(self) -> None:
        """Tell what can be told; read if anything is missing."""
        if self.is_closed or self.entering or self.place is None:
            return
        self._drain(None)
        if self._early:
            self.doubt()

    def _drain(self, until: int | None) -> None:
        """Tell the changes that follow, up to a place."""
        while not self.is_closed and self.place is not None:
            if until is not None and self.place >= until:
                break
            told = self._early.pop(self.place + 1, None)
            if told is None:
                break
            if told.epoch != self._epoch or told.before != self._mark:
                self._early.clear()
                self.doubt()
                break
            self.place, self._mark = told.place, told.mark
            self._recent.append(told.mark)
            self._tell_one(told)
        if not self.is_needed and not self.is_closed:
            self._idle()

    def _tell_one(self, told: Told) -> None:
        change = told.change
        match change:
            case Moved(client_id, node):
                if node != self._node:
                    self.seats.discard(client_id)
                return
            case None:
                return
            case Asked() if told.node == self._node:
                self.asks.add(change.ask.stream_id)
        self._tell(change)
        match change:
            case Left():
                self.seats.difference_update(change.client_ids)
                if not change.participants:
                    self.asks.clear()
            case Logged() if change.entry.stream_id is not None:
                self.asks.discard(change.entry.stream_id)
            case Withdrawn():
                self.asks.discard(change.stream_id)

    # Reading -----------------------------------------------------------------------------------

    async def _read_until_done(self) -> None:
        try:
            while not self.is_closed:
                try:
                    await self._read()
                    break
                except StoreUnavailable:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._reading = None
        self._go_on()

    async def _read(self) -> None:
        """Take in what came after the last change that was told; or find that the history broke."""
        place, mark = self.place, self._mark
        assert place is not None
        early = set(self._early)
        found = await self._since(place)
        if self.is_closed:
            return
        if found is None:
            self._break()
            return
        granted, is_whole = found
        if granted.epoch != self._epoch:
            self._break()
        elif granted.place < place or _first_mark(granted) != mark:
            await self._renew(self._epoch)
            self._break()
        elif not is_whole:
            self._break()
        else:
            self._take(granted.news)
            for lost in early:  # rung, and then lost by Redis: nothing will ever lead up to it
                if lost > granted.place:
                    self._early.pop(lost, None)

    def _break(self) -> None:
        if not self.is_closed:
            self.is_broken = True
            self.close()
            self._tell(Broken())
            self._idle()

    def _watch_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        self.doubt()
        self._watch_later()


def _first_mark(granted: Granted) -> str:
    """The mark of the place after which was read."""
    return granted.news[0].before if granted.news else granted.mark
