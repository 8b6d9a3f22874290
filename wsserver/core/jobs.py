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

    def close(self, record: StreamRecord, fence: int, ending: Ending) -> None:
        """The answer is to end so; its slot is free already."""


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

    def charge(self, model_id: str, owner: str, tokens: float) -> None:
        """Count tokens that an owner's running work has used, weighted (see `fairness`)."""

    def done(self, model_id: str, owner: str, stream_id: str) -> None:
        """A claimed job has ended, or was put back."""

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

    def subscribe(self, model_id: str, bell: Callable[[], None]) -> Callable[[], None]:
        """Have ``bell`` called whenever work comes. Returns the unsubscription."""
