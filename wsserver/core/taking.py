"""How a job comes from the queue to an engine, and back: none is lost on the way.

Where the queue is another process's affair a claim takes a moment, and the engine may go within it.
What comes then is put back at once, rather than when its lease has run out.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from wsserver.core.jobs import AnswerKeeper, Job, WorkQueue
from wsserver.core.streams import Claim, Fenced, RunnerLog, StreamRecord


class Taken(NamedTuple):
    """A job that is this process's to do."""

    job: Job
    record: StreamRecord
    claim: Claim


class Taker:
    """Takes jobs for one model, and gives them back.

    Attributes:
        in_hand: Jobs that have left the queue and are not begun: each needs its slot already.
    """

    def __init__(
        self, model_id: str, queue: WorkQueue, log: RunnerLog, keeper: AnswerKeeper
    ) -> None:
        self._model_id = model_id
        self._queue = queue
        self._log = log
        self._keeper = keeper
        self.in_hand = 0

    async def next(self) -> Taken | None:
        """The next job that is not refused, None when nothing waits.

        If it is cancelled, what is under way is put back as soon as it has come.
        """
        taking = asyncio.create_task(self._take())
        try:
            taken = await asyncio.shield(taking)
            self.in_hand = 0
            return taken
        except asyncio.CancelledError:
            taking.add_done_callback(self._put_back_unbegun)
            raise

    def put_back(self, job: Job, record: StreamRecord, fence: int) -> None:
        """Put a job at the head of its line, with the text that it has."""
        try:
            self._log.release(job.stream_id, fence)
        except Fenced:
            self._queue.abandon(job.model_id, job.owner, job.stream_id)
        else:
            self._queue.resubmit(job, record)

    async def _take(self) -> Taken | None:
        while (job := await self._queue.claim(self._model_id)) is not None:
            self.in_hand = 1
            claim = await self._log.claim(job.stream_id)
            record = self._log.get(job.stream_id)
            if claim is not None and record is not None:
                return Taken(job, record, claim)
            self.in_hand = 0
            self._queue.done(job.model_id, job.owner, job.stream_id)
            self._keeper.refused(job)  # cancelled while it waited
        return None

    def _put_back_unbegun(self, taking: asyncio.Task[Taken | None]) -> None:
        self.in_hand = 0
        taken = None if taking.cancelled() else taking.result()
        if taken is not None:
            self.put_back(taken.job, taken.record, taken.claim.fence)
