"""One mirrored answer: its bells, its readings, its watchdog, and who waits to be placed.

What the follower relies on, that the log never loses a claim that it told of, a Redis that was
restarted with a lost tail may break: an answer may be claimed again under a fence that was told
before. A reading shows that by other claims than those that are known. Then nothing of the mirror
can be trusted, and it is built anew from the beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.streams.doorbells import Claimed, Reading
from wsserver.core.streams.follower import Cursor, Follower, Rewind, Step
from wsserver.core.streams.mirror import Mirror
from wsserver.stores.redis.link import RedisLink
from wsserver.stores.redis.stream_format import (
    Asked,
    Look,
    Restored,
    Rung,
    bell_of,
    channel,
    look_of,
    stream_keys,
)
from wsserver_protocol.lifecycle import StreamState

GONE_SECONDS = 10.0
"""For which the log must not know an answer to be taken for gone. A writer that has it writes it
again as soon as it reaches Redis."""

_FRESH = Reading(
    fence=0,
    bases=(),
    state=StreamState.QUEUED,
    length=0,
    tokens=0,
    ending=None,
    offset=0,
    data=b"",
)
"""An answer that was just created."""


async def read(link: RedisLink, stream_id: str, offset: int) -> Look | None:
    """An answer as the log has it now, its text from ``offset`` on; None: there is none.

    Raises:
        StoreUnavailable: If Redis is away.
    """
    return look_of(await link.call("streams/read", stream_keys(stream_id), (offset,)), offset)


class Followed:
    """A mirror and what keeps it true.

    Attributes:
        record: What readers look at.
        meta: What the answer's creator had to say.
        opened: Resolved once the mirror is true, with whether there is such an answer.
        holders: How many here need the mirror.
        leaving: Runs while nobody here needs it.
    """

    def __init__(
        self,
        link: RedisLink,
        record: StreamRecord,
        meta: bytes,
        *,
        patience: float,
        on_rewind: Callable[[int], None],
        on_cancelled: Callable[[], None],
        on_end: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> None:
        self.record = record
        self.meta = meta
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.holders = 1
        self.leaving: asyncio.TimerHandle | None = None
        self._link = link
        self._patience = patience
        self.mirror = Mirror(record, Follower(patience=patience), on_rewind, on_end)
        self._claims: list[str] | None = None  # that are known, of fence 1 first
        self._early_fence = 0  # of the mirror's early log probabilities
        self._leave: Callable[[], None] = lambda: None
        self._watchdog: asyncio.TimerHandle | None = None
        self._readings = Errands("an answer could not be read")
        self._changes: set[asyncio.Future[None]] = set()
        self._is_closed = False
        self._on_cancelled = on_cancelled
        self._on_gone = on_gone
        self._missed_since: float | None = None  # the log does not know it

    @property
    def is_open(self) -> bool:
        """Whether the mirror is true, and of an answer that is there."""
        opened = self.opened
        return opened.done() and opened.exception() is None and opened.result()

    async def listen(self) -> Callable[[], None]:
        """Hear all bells from now on. Returns what ends that; `close` does, too.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        name = channel(self.record.stream_id)
        leave = await self._link.bells.subscribe(name, self._hear, self.doubt)
        if self._is_closed:
            leave()
        self._leave = leave
        return leave

    def begin_new(self) -> None:
        """The answer was created just now, and every bell since was heard: nothing is to read."""
        self._claims = []
        follower = self.mirror.follower
        for step in follower.begin(self._now()):
            assert not isinstance(step, Rewind)
            now = self._now()
            self._do(follower.read(follower.next_reading - 1, _FRESH, now), now)

    async def begin(self) -> bool:
        """Read the answer. False if there is none.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        look = await read(self._link, self.record.stream_id, 0)
        if look is None:
            return False
        self.record.model_id, self.meta = look.model_id, look.meta
        follower = self.mirror.follower
        follower.begin(self._now())
        self._take(follower.next_reading - 1, look)
        return True

    def ring(self, rung: Rung) -> None:
        """A bell came, by whatever way."""
        if self._is_closed:
            return
        if isinstance(rung.bell, Claimed) and not self._know_claim(rung.bell, rung.writer):
            return
        if rung.logprobs or rung.bell.fence != self._early_fence:
            self._keep_logprobs(rung.bell.fence, rung.logprobs)
        now = self._now()
        self._do(self.mirror.follower.ring(rung.bell, now), now)

    def doubt(self) -> None:
        """Bells may have been lost."""
        if not self._is_closed:
            now = self._now()
            self._do(self.mirror.follower.doubt(now), now)

    async def placed(self, cursor: Cursor, since: int, until: float) -> int:
        """Wait until a reader can be placed (`Follower.place`); with patience until loop time."""
        loop = asyncio.get_running_loop()
        while True:
            is_patient = self._now() < until and not self._is_closed
            stands = self.mirror.follower.place(cursor, since, is_patient=is_patient)
            if stands is not None:
                return stands
            if not is_patient:
                return min(cursor.offset, self.mirror.follower.have)
            change: asyncio.Future[None] = loop.create_future()
            self._changes.add(change)
            try:
                async with asyncio.timeout_at(until):
                    await change
            except TimeoutError:
                continue
            finally:
                self._changes.discard(change)

    def close(self) -> None:
        """Hear and read no more."""
        self._is_closed = True
        self._leave()
        self._readings.cancel()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._tell_changed()

    def _hear(self, data: bytes) -> None:
        match bell_of(data):
            case Rung() as rung:
                self.ring(rung)
            case Asked(ending):
                self._take_cancel(ending)
            case Restored():
                self.doubt()

    def _take_cancel(self, ending: Ending) -> None:
        if self.record.cancel is None:
            self.record.cancel = ending
            self._on_cancelled()

    def _do(self, steps: Iterable[Step], now: float) -> None:
        wanted = self.mirror.apply(steps, now)
        if wanted is not None:
            self._readings.begin(self._read(*wanted))
        if self.mirror.follower.ending is not None:
            self._leave()  # nothing comes after an end
        self._tell_changed()
        self._watch()

    async def _read(self, number: int, offset: int) -> None:
        try:
            look = await read(self._link, self.record.stream_id, offset)
        except StoreUnavailable:
            self.mirror.follower.read_failed(self._now())
            self._watch()
            return
        if look is not None:
            self._take(number, look)
            return
        now = self._now()
        self._do(self.mirror.follower.read(number, None, now), now)
        if self._missed_since is None:
            self._missed_since = now
        elif now - self._missed_since >= GONE_SECONDS:
            self._on_gone()

    def _take(self, number: int, look: Look) -> None:
        self._missed_since = None
        if look.cancel is not None:
            self._take_cancel(look.cancel)
        seen = look.claims.split(",") if look.claims else []
        known = self._claims or []
        if any(one != other for one, other in zip(known, seen, strict=False)):
            self._start_again()
            return
        if len(seen) >= len(known):
            self._claims = seen
        self._keep_logprobs(look.reading.fence, look.logprobs)
        now = self._now()
        self._do(self.mirror.follower.read(number, look.reading, now), now)

    def _know_claim(self, claim: Claimed, writer: str) -> bool:
        """Note a claim of the next fence. False if it is not the one that is known."""
        known, made = self._claims, f"{writer}:{claim.base}"
        if known is None:  # nothing was read yet
            return True
        if claim.fence == len(known) + 1:
            known.append(made)
        elif claim.fence <= len(known) and known[claim.fence - 1] != made:
            self._start_again()
            return False
        return True

    def _start_again(self) -> None:
        """The log has another history than the one that is mirrored: forget all of that."""
        if self.mirror.follower.ending is not None:
            return
        self._claims = None
        self.mirror.early.clear()
        now = self._now()
        self.mirror.apply([Rewind(0)], now)
        self.mirror.follower = Follower(patience=self._patience)
        self._do(self.mirror.follower.begin(now), now)

    def _keep_logprobs(self, fence: int, logprobs: Iterable[tuple[int, Any]]) -> None:
        early = self.mirror.early
        if fence < self._early_fence:
            return
        if fence > self._early_fence:
            early.clear()
            self._early_fence = fence
        early.update(logprobs)

    def _watch(self) -> None:
        due = self.mirror.follower.due
        if self._watchdog is not None:
            if due is not None and self._watchdog.when() <= due and not self._is_closed:
                return  # it looks then, and again later
            self._watchdog.cancel()
            self._watchdog = None
        if due is not None and not self._is_closed:
            self._watchdog = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._watchdog = None
        now = self._now()
        self._do(self.mirror.follower.tick(now), now)

    def _tell_changed(self) -> None:
        for change in self._changes:
            if not change.done():
                change.set_result(None)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
