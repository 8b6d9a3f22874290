"""Who is served next: virtual token counters.

Each owner has a counter of the tokens that it was served, prompts at `PROMPT_WEIGHT` and answers
at `ANSWER_WEIGHT`, charged as they are used. The next slot goes to the waiting owner with the
smallest counter; one who comes back after a pause is lifted to the smallest counter of those who
are active, so that idleness is not banked. The algorithm and its weights are those of VTC (Sheng
et al., "Fairness in Serving Large Language Models", OSDI '24); it bounds what one backlogged owner
can get ahead of another, whatever either of them sends.

Higher ``priority`` goes first of all; equal counters to whoever was served longest ago.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from wsserver.core.jobs import Job
from wsserver.core.streams import StreamRecord

PROMPT_WEIGHT, ANSWER_WEIGHT = 1.0, 2.0

CHARS_PER_TOKEN = 4.0
"""For the estimate that is charged at admission; the engine's own count corrects it."""

TYPICAL_COST = 512.0
"""What a waiting job is assumed to cost where places in line are told, in weighted tokens."""


def prompt_estimate(job: Job) -> float:
    """Weighted tokens of a job's prompt, before a tokenizer has seen it."""
    chars = len(job.raw or "") + sum(len(message.content) for message in job.messages or ())
    return PROMPT_WEIGHT * (1 + chars / CHARS_PER_TOKEN)


@dataclass(order=True, slots=True)
class Entry:
    """A waiting job. Entries of one owner compare by priority, then by arrival."""

    key: tuple[int, int]  # (-priority, arrival)
    job: Job = field(compare=False)
    record: StreamRecord = field(compare=False)
    removed: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Owner:
    """One identity's work for one model."""

    counter: float = 0.0
    turn: int = 0  # of the last admission, over all owners
    running: int = 0
    waiting: list[Entry] = field(default_factory=list)  # a heap

    def head(self) -> Entry | None:
        while self.waiting and self.waiting[0].removed:
            heapq.heappop(self.waiting)
        return self.waiting[0] if self.waiting else None

    @property
    def is_active(self) -> bool:
        return self.running > 0 or self.head() is not None


T = TypeVar("T")


class Standing(NamedTuple, Generic[T]):
    """An owner as the order sees it."""

    counter: float
    turn: int
    number: int  # in which the owners came: decides where all else is equal
    jobs: list[tuple[int, T]]  # -priority and job, in the owner's own order


def in_turn(owners: Iterable[Standing[T]]) -> Iterator[T]:
    """All waiting jobs in the order in which they would be served if all cost the same."""
    plan = [
        (owner.jobs[0][0], owner.counter, owner.turn, owner.number, owner.jobs, 0)
        for owner in owners
        if owner.jobs
    ]
    heapq.heapify(plan)
    while plan:
        _, counter, turn, number, jobs, index = heapq.heappop(plan)
        yield jobs[index][1]
        if index + 1 < len(jobs):
            following = jobs[index + 1][0]
            later = (following, counter + TYPICAL_COST, turn, number, jobs, index + 1)
            heapq.heappush(plan, later)


class FairQueue:
    """One model's order. `pop` costs O(owners that wait), everything else O(log jobs)."""

    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}
        self._waiting: dict[str, Entry] = {}  # by streamId
        self._arrivals = itertools.count(1)
        self._turns = itertools.count(1)

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, job: Job, record: StreamRecord) -> None:
        """Add a job behind its owner's others of the same priority."""
        self._add(job, record, next(self._arrivals))

    def push_front(self, job: Job, record: StreamRecord) -> None:
        """Add a job that had begun before: ahead of its owner's others."""
        self._add(job, record, -next(self._arrivals))

    def pop(self) -> Entry | None:
        """Take the next job; its owner is charged the prompt's estimate."""
        best: _Owner | None = None
        best_key: tuple[int, float, int] | None = None
        for owner in self._owners.values():
            head = owner.head()
            if head is None:
                continue
            key = (head.key[0], owner.counter, owner.turn)
            if best_key is None or key < best_key:
                best, best_key = owner, key
        if best is None:
            return None
        entry = heapq.heappop(best.waiting)
        del self._waiting[entry.job.stream_id]
        best.running += 1
        best.turn = next(self._turns)
        best.counter += prompt_estimate(entry.job)
        return entry

    def charge(self, owner: str, tokens: float) -> None:
        """Count weighted tokens that were used; negative ones correct an estimate."""
        known = self._owners.get(owner)
        if known is not None:
            known.counter += tokens

    def done(self, owner: str) -> None:
        """One of an owner's running jobs has ended."""
        self._owners[owner].running -= 1
        self._forget()

    def remove(self, stream_id: str) -> bool:
        """Take a waiting job out. False if it does not wait."""
        entry = self._waiting.pop(stream_id, None)
        if entry is None:
            return False
        entry.removed = True
        self._forget()
        return True

    def place(self, stream_id: str) -> int:
        """The place in `in_order` of a job that waits, from 1; without making the whole order."""
        entry = self._waiting[stream_id]
        priority = entry.key[0]
        rank = {
            name: number for number, name in enumerate(self._owners)
        }  # breaks ties, as in `pop`
        mine = self._owners[entry.job.owner]
        ahead = [one for one in mine.waiting if not one.removed and one < entry]
        my_rank = rank[entry.job.owner]
        my_turn = (mine.counter + len(ahead) * TYPICAL_COST, mine.turn, my_rank)
        place = len(ahead) + 1
        for name, owner in self._owners.items():
            if owner is mine:
                continue
            keys = [one.key[0] for one in owner.waiting if not one.removed]
            higher = sum(key < priority for key in keys)
            place += higher
            for number in range(higher, higher + keys.count(priority)):
                if (owner.counter + number * TYPICAL_COST, owner.turn, rank[name]) > my_turn:
                    break
                place += 1
        return place

    def in_order(self) -> Iterator[Entry]:
        """The waiting jobs in the order in which they would be served if all cost the same."""
        return in_turn(
            Standing(
                owner.counter,
                owner.turn,
                number,
                [
                    (entry.key[0], entry)
                    for entry in sorted(one for one in owner.waiting if not one.removed)
                ],
            )
            for number, owner in enumerate(self._owners.values())
        )

    def _add(self, job: Job, record: StreamRecord, arrival: int) -> None:
        owner = self._owners.get(job.owner)
        if owner is None or not owner.is_active:
            floor = min((o.counter for o in self._owners.values() if o.is_active), default=0.0)
            if owner is None:
                owner = self._owners[job.owner] = _Owner()
            owner.counter = max(owner.counter, floor)
        entry = Entry((-job.priority, arrival), job, record)
        self._waiting[job.stream_id] = entry
        heapq.heappush(owner.waiting, entry)

    def _forget(self) -> None:
        """Drop owners whose counters say nothing any more.

        With nobody active all are equal again; otherwise an owner at or below the smallest active
        counter would be lifted to it anyway. Without this every identity that ever asked would
        keep a row.
        """
        active = [owner.counter for owner in self._owners.values() if owner.is_active]
        if not active:
            self._owners.clear()
            return
        if len(self._owners) > 2 * len(active) + 16:
            floor = min(active)
            self._owners = {
                name: owner
                for name, owner in self._owners.items()
                if owner.is_active or owner.counter > floor
            }
