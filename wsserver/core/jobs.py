"""The port of the queue in front of a model's slots.

Nothing queues inside an engine, so order, fairness, place in line and stopping of waiting work
are decided here alone. `wsserver.core.fairness` has the order itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsserver.core.engine import ChatMessage, Sampling
from wsserver.core.streams import Ending, StreamRecord


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
    meta: bytes = b""  # what whoever ends the answer elsewhere needs to know of it


class AnswerKeeper(Protocol):
    """Who answers for what a runner makes: told of each job that begins, and sees to its end."""

    def claimed(self, job: Job, record: StreamRecord) -> None:
        """A runner has claimed the job, and makes its answer from now on."""

    def refused(self, job: Job) -> None:
        """The job's claim was refused: its answer has ended, or was asked to end, or is gone."""

    def released(self, job: Job) -> None:
        """The job goes back in line with the text it has: whoever claims it next goes on."""

    def close(self, record: StreamRecord, fence: int, ending: Ending) -> None:
        """The answer is to end so; its slot is free already."""


class QueueFull(Exception):
    """The model's queue holds as many requests as it may."""


class WorkQueue(Protocol):
    """Waiting work as runners see it. One order per model. Nothing here raises."""

    def subscribe(self, model_id: str, bell: Callable[[], None]) -> Callable[[], None]:
        """Have ``bell`` called whenever work comes. Returns the unsubscription."""

    async def claim(self, model_id: str) -> Job | None:
        """Take the next job, None when nothing waits."""

    def charge(self, model_id: str, owner: str, tokens: float) -> None:
        """Count tokens that an owner's running work has used, weighted (see `fairness`)."""

    def done(self, model_id: str, owner: str, stream_id: str) -> None:
        """A claimed job holds its slot no more."""

    def resubmit(self, job: Job, record: StreamRecord) -> None:
        """Put back at the head what was claimed before and lost its engine. Never refused.

        Its slot is given back in the same step: no `done` goes before.
        """

    def abandon(self, model_id: str, owner: str, stream_id: str) -> None:
        """A claimed job is another runner's now: only forget that it was one's own."""


class JobQueue(WorkQueue, Protocol):
    """Waiting work of a single process, which whoever submits it sees at once."""

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

    def remove(self, model_id: str, stream_id: str) -> bool:
        """Take a waiting job out. False if it is not waiting any more."""

    def drain(self, model_id: str) -> list[Job]:
        """Take all waiting jobs out, in order."""

    def depth(self, model_id: str) -> int:
        """Jobs that wait."""

    def place(self, model_id: str, stream_id: str) -> int:
        """The place in line of a job that waits, from 1."""

    def waiting(self, model_id: str) -> list[StreamRecord]:
        """The records of the jobs that wait, in order."""


class LostHook(Protocol):
    def __call__(self, record: StreamRecord) -> None:
        """Told of a record."""


class SharedJobQueue(WorkQueue, Protocol):
    """Waiting work of many processes, any of which may die at any moment.

    What is claimed, removed, drained or given up is held by this process under a lease until it
    is `settled`, and stays in the queue's keeping so long. When the lease of a process that died
    runs out, the job waits again, at the head: so there is always one who ends its answer.

    ``on_lost`` is called for a followed record whose job is in nobody's keeping any more.

    Async methods raise `StoreUnavailable` when the store is away; `claim` returns None then, and
    the bell rings once it is back.
    """

    on_lost: LostHook

    async def submit(self, job: Job, *, slots: int) -> int:
        """Add a job at its fair place and ring the model's bell. Again under its id: once.

        Args:
            job: The work.
            slots: Jobs that the model's engines can do at once. As many as of these are free do
                not count as waiting.

        Returns:
            The place in line, from 1; 0 if a slot is free for it, or it was claimed already. Behind
            a great many owners it may be too small, which `follow` sets right.

        Raises:
            QueueFull: If as many requests wait for the model as may.
        """
        ...

    async def remove(self, model_id: str, stream_id: str) -> Job | None:
        """Take a waiting job out, to end it: exactly one caller gets it, to be `settled`."""
        ...

    async def drain(self, model_id: str) -> list[Job]:
        """Take all waiting jobs out, owner by owner, each as `remove` does."""
        ...

    async def depth(self, model_id: str) -> int:
        """Jobs that wait."""
        ...

    def follow(self, record: StreamRecord) -> None:
        """Until it has ended, keep the ``queue_position`` of a record in line current, and miss its
        job if that gets lost."""

    def watch(self, record: StreamRecord) -> None:
        """Miss the job of a record that another process has lined up, once it has been claimed."""

    def settled(self, stream_id: str) -> None:
        """The answer's end is written for good: its lease, and all that is kept of it, ends."""

    async def renew(self) -> None:
        """Prolong the leases of all that this process holds; more often than they last."""
        ...

    async def reap(self, model_id: str) -> list[Job]:
        """Put back in line what was held by processes that died.

        Returns:
            What was claimed too often and is given up, to be ended by the caller and `settled`.
        """
        ...
