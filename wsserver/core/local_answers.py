"""Answers made in this process: its own log, queue, limits and engines.

All ways to end an answer lead through `LocalAnswers.close`, once: the runner's finish, a stop of
waiting work, a refusal by a model that went away. Before the end is told, its hooks run (a room
logs the answer, a session keeps it), so that the one terminal event can say what became of it.
"""

from __future__ import annotations

import asyncio
import logging

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer, Claim, make_job
from wsserver.core.cache import (
    CachedAnswer,
    ResponseCache,
    cache_key,
    is_deterministic,
    keepable,
)
from wsserver.core.engine import ChatMessage
from wsserver.core.jobs import Job, JobQueue, QueueFull
from wsserver.core.limits import Limits
from wsserver.core.models import ModelDirectory
from wsserver.core.results import ending_word
from wsserver.core.streams import Ending, Fenced, StreamLog, StreamRecord
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode, WireError
from wsserver_protocol.lifecycle import StopReason

log = logging.getLogger(__name__)


class LocalAnswers(Answers):
    """The answers of a process that makes them itself.

    Deterministic ones are given again from ``cache``.
    """

    def __init__(
        self,
        *,
        log: StreamLog,
        queue: JobQueue,
        limits: Limits,
        models: ModelDirectory,
        telemetry: Telemetry,
        retention: float,
        cache: ResponseCache,
        max_wait: float = 0.0,
    ) -> None:
        super().__init__(models=models, retention=retention, max_wait=max_wait)
        self._log = log
        self._cache = cache
        self._queue = queue
        self._limits = limits
        self._telemetry = telemetry
        self._closings: set[asyncio.Task[None]] = set()

    def enqueue(
        self,
        answer: Answer,
        *,
        messages: tuple[ChatMessage, ...] | None = None,
        raw: str | None = None,
        prior: str = "",
    ) -> None:
        record = answer.record
        if answer.is_closing or record.cancel is not None:
            return
        model = self._models.require(record.model_id)
        job = make_job(record, answer.ask, messages, raw, prior)
        if is_deterministic(answer.ask.options):
            answer.cache_key = cache_key(job, model.build)
            loop = asyncio.get_running_loop()
            cached = self._cache.get(answer.cache_key, loop.time())
            if cached is not None:
                # Soon, not now: whoever submits has not yet said what its end brings.
                loop.call_soon(self._give_again, answer, cached)
                return
        free = self._models.free_slots(model)
        try:
            self._queue.submit(job, record, free_slots=free)
        except QueueFull:
            raise WireError(
                ErrorCode.OVERLOADED, f"The queue of model {model.id!r} is full.", retry_after=1000
            ) from None
        # The free slots take the first in line as soon as their runner is woken.
        place = self._queue.place(model.id, record.stream_id) - free
        if place > 0:
            record.queue_position = place
            record.wake()  # its start may have been told before it had a place
            if self._max_wait:
                loop = asyncio.get_running_loop()
                answer.patience = loop.call_later(self._max_wait, self._waited_enough, answer)

    def end_early(self, answer: Answer, ending: Ending) -> bool:
        record = answer.record
        if answer.is_closing or not self._log.cancel(record.stream_id, ending):
            return False
        if not self._models.stop(record):
            self._queue.remove(record.model_id, record.stream_id)
            self.close(record, record.fence, ending)
        return True

    def claimed(self, job: Job, record: StreamRecord) -> None:
        """Nothing to note: it was accepted here."""

    def released(self, job: Job) -> None:
        """Nothing to note: it goes on here."""

    def refused(self, job: Job) -> None:
        """Nothing to do: who cancelled it has ended it."""

    def close(self, record: StreamRecord, fence: int, ending: Ending) -> None:
        """End an answer: run its hooks, then tell its watchers. Its slot is free already."""
        answer = self._answers.get(record.stream_id)
        if answer is None or answer.is_closing:
            return
        answer.is_closing = True
        if not answer.closing:
            self._finish(answer, fence, ending)
            return
        task = asyncio.get_running_loop().create_task(self._close_slowly(answer, fence, ending))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    def followed(self, answer: Answer) -> None:
        """Nothing to note: the record knows its watchers, and there are no others."""

    def unfollowed(self, answer: Answer) -> None:
        if answer.asker_is_gone:
            self.orphaned(answer)

    def orphaned(self, answer: Answer) -> None:
        if not answer.survives_its_asker and not answer.record.watchers:
            self.stop(answer, StopReason.DISCONNECT, "server")

    def claim_id(self, answer: Answer, claim: Claim) -> None:
        """Nothing to note: `wsserver.core.idempotency` recognises all repeats there are."""

    async def closed(self) -> None:
        while self._closings:
            await asyncio.wait(self._closings)

    def _begin(self, answer: Answer) -> None:
        self._limits.begin(answer.ask.owner.limit_key, answer.stream_id)
        self._log.create(answer.record)

    def _withdraw(self, answer: Answer) -> None:
        del self._answers[answer.stream_id]
        self._log.forget(answer.stream_id)
        self._limits.end(answer.ask.owner.limit_key, answer.stream_id)
        if answer.deadline is not None:
            answer.deadline.cancel()

    async def _close_slowly(self, answer: Answer, fence: int, ending: Ending) -> None:
        for hook in answer.closing:
            await hook(answer.record, ending)
        self._finish(answer, fence, ending)

    def _finish(self, answer: Answer, fence: int, ending: Ending) -> None:
        record = answer.record
        now = asyncio.get_running_loop().time()
        key = answer.ask.owner.limit_key
        self._limits.end(key, record.stream_id)
        if not record.is_cached:
            used = record.prompt_tokens + record.transcript.generated
            self._limits.use_tokens(key, used, now)
        kept = keepable(record, ending) if answer.cache_key is not None else None
        if answer.cache_key is not None and kept is not None:
            self._cache.put(answer.cache_key, kept, now)
        self._telemetry.stream_ended(record.model_id, ending_word(ending))
        answer.holds = 0
        del self._answers[record.stream_id]
        try:
            self._log.finish(record.stream_id, fence, len(record.transcript), ending)
        except Fenced:
            log.warning("the end of %s was refused: another writer holds it", record.stream_id)
        self._has_ended(answer)

    def _give_again(self, answer: Answer, cached: CachedAnswer) -> None:
        """Make a cached answer this one's: all at once, and no engine is asked."""
        record = answer.record
        if answer.is_closing or record.cancel is not None:
            return
        record.is_cached = True
        record.prompt_tokens = record.cached_tokens = cached.prompt_tokens
        self._log.append(record.stream_id, record.fence, 0, cached.text, cached.tokens)
        self.close(record, record.fence, Ending.complete(cached.finish_reason))
