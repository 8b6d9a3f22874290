"""Job queue of a single process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wsserver.core.fairness import FairQueue
from wsserver.core.jobs import Job, QueueFull
from wsserver.core.streams import StreamRecord

# Places in line are told at most this often, in seconds, and the longer the line the less often:
# each claim moves everyone in it, and nobody reads faster.
POSITIONS_EVERY, POSITIONS_EVERY_PER_JOB = 0.02, 0.0002


class MemoryJobQueue:
    """The embedded job queue."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._queues: dict[str, FairQueue] = {}
        self._bells: dict[str, list[Callable[[], None]]] = {}
        self._renumbering: dict[str, asyncio.TimerHandle] = {}

    def submit(self, job: Job, record: StreamRecord, *, free_slots: int) -> None:
        queue = self._queue(job.model_id)
        if len(queue) - free_slots >= self._max_depth:
            raise QueueFull(job.model_id)
        queue.push(job, record)
        self._ring(job.model_id)

    def resubmit(self, job: Job, record: StreamRecord) -> None:
        queue = self._queue(job.model_id)
        queue.push_front(job, record)
        queue.done(job.owner)
        self._ring(job.model_id)

    async def claim(self, model_id: str) -> Job | None:
        entry = self._queue(model_id).pop()
        if entry is None:
            return None
        entry.record.queue_position = None
        self._renumber_soon(model_id)
        return entry.job

    def charge(self, model_id: str, owner: str, tokens: float) -> None:
        self._queue(model_id).charge(owner, tokens)

    def done(self, model_id: str, owner: str, stream_id: str) -> None:
        self._queue(model_id).done(owner)

    def abandon(self, model_id: str, owner: str, stream_id: str) -> None:
        self.done(model_id, owner, stream_id)  # of one process nobody else has claimed it

    def remove(self, model_id: str, stream_id: str) -> bool:
        removed = self._queue(model_id).remove(stream_id)
        if removed:
            self._renumber_soon(model_id)
        return removed

    def drain(self, model_id: str) -> list[Job]:
        queue = self._queue(model_id)
        jobs = []
        while (entry := queue.pop()) is not None:
            entry.record.queue_position = None
            jobs.append(entry.job)
            queue.done(entry.job.owner)
        return jobs

    def depth(self, model_id: str) -> int:
        return len(self._queue(model_id))

    def place(self, model_id: str, stream_id: str) -> int:
        return self._queue(model_id).place(stream_id)

    def waiting(self, model_id: str) -> list[StreamRecord]:
        return [entry.record for entry in self._queue(model_id).in_order()]

    def subscribe(self, model_id: str, bell: Callable[[], None]) -> Callable[[], None]:
        bells = self._bells.setdefault(model_id, [])
        bells.append(bell)
        return lambda: bells.remove(bell)

    def _queue(self, model_id: str) -> FairQueue:
        queue = self._queues.get(model_id)
        if queue is None:
            queue = self._queues[model_id] = FairQueue()
        return queue

    def _ring(self, model_id: str) -> None:
        for bell in self._bells.get(model_id, ()):
            bell()
        # After the bells: what a free slot takes at once is never told a place in line.
        self._renumber_soon(model_id)

    def _renumber_soon(self, model_id: str) -> None:
        if not self._queue(model_id):
            # Or what comes next would be told a place by a timer that was set for others.
            if (timer := self._renumbering.pop(model_id, None)) is not None:
                timer.cancel()
        elif model_id not in self._renumbering:
            loop = asyncio.get_running_loop()
            delay = POSITIONS_EVERY + POSITIONS_EVERY_PER_JOB * self.depth(model_id)
            self._renumbering[model_id] = loop.call_later(delay, self._renumber, model_id)

    def _renumber(self, model_id: str) -> None:
        del self._renumbering[model_id]
        for place, entry in enumerate(self._queue(model_id).in_order(), start=1):
            if entry.record.queue_position != place:
                entry.record.queue_position = place
                entry.record.wake()
