"""Who is served next: the queue in front of a model's slots.

Nothing queues inside an engine, so order, fairness, place in line and stopping of waiting work
are decided here alone. Fairness is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM '96)
with one unit per request: a request's tag is one more than its identity's last tag, but never
less than the tag last served, so that a flood waits behind itself and idleness is not banked.
Higher ``priority`` goes first; equal tags in order of arrival.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wsserver.core.engine import ChatMessage, Sampling
from wsserver.core.streams import StreamRecord


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a runner needs to make an answer, wherever it runs."""

    stream_id: str
    model_id: str
    owner: str  # identity key: what fairness counts by
    messages: tuple[ChatMessage, ...] | None
    raw: str | None
    max_tokens: int  # of the whole answer, with what it had before a failover
    sampling: Sampling
    prior: str = ""  # text that the model is fed as said, but that this answer does not repeat
    priority: int = 0


class QueueFull(Exception):
    """The model's queue holds as many requests as it may."""


class JobQueue(Protocol):
    """Waiting work of all models. One order per model."""

    def submit(self, job: Job, record: StreamRecord, *, free_slots: int) -> None:
        """Add a job at its fair place and ring the model's bell.

        The record's ``queue_position`` is kept current from now on until it is claimed.

        Args:
            job: The work.
            record: Its answer.
            free_slots: Jobs that an engine could begin at once; they do not count as waiting.

        Raises:
            QueueFull: If as many requests wait for the model as may.
        """

    def resubmit(self, job: Job, record: StreamRecord) -> None:
        """Put back at the head what was claimed before and lost its engine. Never refused."""

    async def claim(self, model_id: str) -> Job | None:
        """Take the next job, None when nothing waits."""

    def remove(self, model_id: str, stream_id: str) -> bool:
        """Take a waiting job out. False if it is not waiting any more."""

    def drain(self, model_id: str) -> list[Job]:
        """Take all waiting jobs out, in order."""

    def depth(self, model_id: str) -> int:
        """Jobs that wait."""

    def waiting(self, model_id: str) -> list[StreamRecord]:
        """The records of the jobs that wait, in order."""

    def subscribe(self, model_id: str, bell: Callable[[], None]) -> Callable[[], None]:
        """Have ``bell`` called whenever work comes. Returns the unsubscription."""


@dataclass(order=True, slots=True)
class _Entry:
    key: tuple[int, float, int]  # (-priority, tag, arrival)
    job: Job = field(compare=False)
    record: StreamRecord = field(compare=False)
    removed: bool = field(default=False, compare=False)


class FairQueue:
    """One model's order: a heap with lazily removed entries."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._waiting: dict[str, _Entry] = {}
        self._last_tag: dict[str, float] = {}
        self._now = 0.0  # virtual time: the tag last served
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, job: Job, record: StreamRecord) -> None:
        tag = max(self._now, self._last_tag.get(job.owner, 0.0)) + 1.0
        self._last_tag[job.owner] = tag
        self._add((-job.priority, tag, next(self._arrivals)), job, record)

    def push_front(self, job: Job, record: StreamRecord) -> None:
        first = self._heap[0].key if self._heap else (0, self._now, 0)
        self._add((min(first[0], -job.priority) - 1, self._now, next(self._arrivals)), job, record)

    def pop(self) -> _Entry | None:
        while self._heap:
            entry = heapq.heappop(self._heap)
            if entry.removed:
                continue
            del self._waiting[entry.job.stream_id]
            self._now = max(self._now, entry.key[1])
            self._forget_idle(entry.job.owner)
            return entry
        return None

    def remove(self, stream_id: str) -> bool:
        entry = self._waiting.pop(stream_id, None)
        if entry is None:
            return False
        entry.removed = True
        self._forget_idle(entry.job.owner)
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._waiting):
            self._heap = [e for e in self._heap if not e.removed]
            heapq.heapify(self._heap)
        return True

    def in_order(self) -> list[_Entry]:
        return sorted(self._waiting.values())

    def _add(self, key: tuple[int, float, int], job: Job, record: StreamRecord) -> None:
        entry = _Entry(key, job, record)
        self._waiting[job.stream_id] = entry
        heapq.heappush(self._heap, entry)

    def _forget_idle(self, owner: str) -> None:
        # A tag at or behind virtual time says nothing any more; without this the table would
        # keep a row for every identity that ever asked.
        if self._last_tag.get(owner, 0.0) <= self._now:
            self._last_tag.pop(owner, None)
