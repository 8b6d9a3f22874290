"""Places in line, told to those who wait here.

Each process that has someone waiting for a model listens to that queue's bell and reads the order
at most once per `LOOK_EVERY`; the places are counted here and not in Redis, which has one thread
for everybody. It is told, too, of a job that the queue has lost: one that waits, and one whose
maker has died, while the part of a cluster that has the queue forgot that he had it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from wsserver.core.fairness import Standing, in_turn
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.core.streams import StreamRecord
from wsserver.stores.redis.link import PUBLISH, Argument, RedisLink
from wsserver.stores.redis.listening import Listening
from wsserver.stores.redis.queue_keys import queue_bell, queue_keys
from wsserver_protocol.lifecycle import StreamState

LOOK_EVERY, LOOK_EVERY_PER_JOB = 0.1, 0.0002
"""Seconds between two looks at one line; the longer the line the rarer: nobody reads faster."""

WATCH_SECONDS = 2.0
"""After which it is looked anyway: a bell may have been lost."""

LOST_SECONDS = 5.0
"""How long a job must be in nobody's keeping to count as lost: its end may be on the way here."""

UNMADE_SECONDS = 20.0
"""The same for one that is being made, or that was asked to end. Whoever makes it says so again
soon after Redis has forgotten it, or has not been heard of for longer than a lease."""

OWNER, RANK, ARRIVAL = 32, 10, 16
RANK_OF_ZERO = 10**9
"""How the scripts write a waiting job: lua/queue/common.lua."""

WAITING_STATES = (StreamState.QUEUED, StreamState.LOADING)


class Places:
    """Keeps ``queue_position`` current of the records that it is given, and misses lost jobs.

    Args:
        link: The Redis.
        on_lost: Called once for each record whose job has got lost with Redis' data.
    """

    def __init__(self, link: RedisLink, on_lost: Callable[[StreamRecord], None]) -> None:
        self._link = link
        self._on_lost = on_lost
        self._lines: dict[str, _Line] = {}

    def follow(self, record: StreamRecord) -> None:
        """Tell this record, which is in line, its place from now on, until it has ended."""
        self._line(record.model_id).add(record, is_in_line=True)

    def watch(self, record: StreamRecord) -> None:
        """Miss a maker of this record from now on, until it has ended; another one follows it."""
        self._line(record.model_id).add(record, is_in_line=False)

    def close(self) -> None:
        """Follow nothing any more."""
        for line in list(self._lines.values()):
            line.close()
        self._lines.clear()

    def _line(self, model_id: str) -> _Line:
        line = self._lines.get(model_id)
        if line is None:
            line = _Line(self._link, model_id, self._lines.pop, self._on_lost)
            self._lines[model_id] = line
        return line


class _Line:
    """One model's line, as far as someone waits in it here."""

    def __init__(
        self,
        link: RedisLink,
        model_id: str,
        on_empty: Callable[[str], object],
        on_lost: Callable[[StreamRecord], None],
    ) -> None:
        self._link = link
        self._model_id = model_id
        self._on_empty = on_empty
        self._on_lost = on_lost
        self._records: dict[str, StreamRecord] = {}
        self._in_line: set[str] = set()  # those of them that were put there from here
        self._missed: dict[str, float] = {}  # streamId to when nothing was known of it first
        self._asked_at = 0.0  # when makers were last asked for
        self._length = 0
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        bell = f"{queue_bell(model_id)}:places"
        self._listening = Listening(link.bells, bell, self._look_soon, every=WATCH_SECONDS)

    def add(self, record: StreamRecord, *, is_in_line: bool) -> None:
        self._records[record.stream_id] = record
        if is_in_line:
            self._in_line.add(record.stream_id)
        self._look_soon()

    def close(self) -> None:
        self._listening.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()

    def _look_soon(self) -> None:
        for stream_id in [s for s, record in self._records.items() if record.is_ended]:
            self._forget(stream_id)
        if not self._records:
            self._on_empty(self._model_id)
            self.close()
        elif self._timer is None and (self._waiting() or self._made()):
            delay = LOOK_EVERY + LOOK_EVERY_PER_JOB * self._length
            self._timer = asyncio.get_running_loop().call_later(delay, self._begin_look)

    def _forget(self, stream_id: str) -> StreamRecord:
        self._missed.pop(stream_id, None)
        self._in_line.discard(stream_id)
        return self._records.pop(stream_id)

    def _waiting(self) -> list[StreamRecord]:
        waiting = (r for r in self._records.values() if r.state in WAITING_STATES and not r.cancel)
        return [record for record in waiting if record.stream_id in self._in_line]

    def _made(self) -> list[StreamRecord]:
        """Those whose maker is to be asked for, which need not be with each bell."""
        if asyncio.get_running_loop().time() - self._asked_at < WATCH_SECONDS:
            return []
        return [
            record
            for record in self._records.values()
            if record.state is StreamState.RUNNING
            or (record.cancel is not None and record.stream_id in self._in_line)
        ]

    def _begin_look(self) -> None:
        self._look = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        waiting, made = self._waiting(), self._made()
        names = [record.stream_id for record in (*waiting, *made)]
        args: list[Argument] = [queue_bell(self._model_id), *names, PUBLISH]
        step = "queue/order" if waiting else "queue/unknown"  # lines can be long
        try:
            reply = await self._link.call(step, queue_keys(self._model_id), args)
        except StoreUnavailable:
            self._missed.clear()  # who makes one can't say so either
            return  # the next bell, doubt or watch looks again
        finally:
            self._timer = None
        if waiting:
            self._take_order(waiting, _order(reply))
        if made:
            self._asked_at = asyncio.get_running_loop().time()
        self._note_missing(names, {name.decode() for name in reply[-1]})

    def _take_order(self, waiting: list[StreamRecord], order: list[str]) -> None:
        self._length = len(order)
        places = {stream_id: place for place, stream_id in enumerate(order, start=1)}
        for record in waiting:
            place = places.get(record.stream_id)
            if record.state in WAITING_STATES and record.queue_position != place:
                record.queue_position = place
                record.wake()

    def _note_missing(self, asked: list[str], unknown: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        for stream_id in asked:
            if stream_id not in unknown:
                self._missed.pop(stream_id, None)
            elif stream_id in self._records:
                self._missed.setdefault(stream_id, now)
        for stream_id, since in list(self._missed.items()):
            if now - since >= self._patience(self._records[stream_id]):
                record = self._forget(stream_id)
                if not record.is_ended:
                    self._on_lost(record)

    def _patience(self, record: StreamRecord) -> float:
        is_waiting = record.state in WAITING_STATES and not record.cancel
        return LOST_SECONDS if is_waiting else UNMADE_SECONDS


def _order(reply: list[Any]) -> list[str]:
    """The streamIds that wait, in turn, from what the script ``order`` returns."""
    jobs: dict[bytes, list[tuple[int, str]]] = {}
    for member in reply[1]:
        rank = int(member[OWNER : OWNER + RANK]) - RANK_OF_ZERO
        stream_id = member[OWNER + RANK + ARRIVAL :].decode()
        jobs.setdefault(member[:OWNER], []).append((rank, stream_id))
    return list(
        in_turn(
            Standing(float(counter), turn, number, jobs[owner])
            for owner, counter, turn, number in reply[0]
        )
    )
