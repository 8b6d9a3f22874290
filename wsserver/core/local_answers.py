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
from wsserver.core.cache import ResponseCache, keepable
from wsserver.core.engine import ChatMessage
from wsserver.core.errands import Errands
from wsserver.core.intake import Intake
from wsserver.core.jobs import Job, JobQueue, QueueFull
from wsserver.core.limits import Limits
from wsserver.core.models import ModelDirectory
from wsserver.core.models.fallbacks import chosen
from wsserver.core.results import ending_word
from wsserver.core.streams import Ending, Fenced, StreamLog, StreamRecord
from wsserver.core.telemetry import Telemetry
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
        self._closings = Errands("an answer could not be closed")
        self._intake = Intake(
            log=log, queue=queue, models=models, cache=cache, close=self.close, wait=self._wait
        )

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
        chosen(self._models, record, None)
        try:
            self._intake.line_up(answer, make_job(record, answer.ask, messages, raw, prior))
        except QueueFull:
            raise self._no_place(answer) from None

    def divert(self, record: StreamRecord, ending: Ending) -> bool:
        """Have a fallback take up an answer that waited for a model which went away. False if
        there is none, and the answer must end."""
        answer = self._answers.get(record.stream_id)
        return answer is not None and self._intake.divert(answer, ending)

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
        if answer is None or answer.is_closing or self._intake.divert(answer, ending):
            return
        fence = max(fence, record.fence)  # a fallback that found no place has cost a fence
        answer.is_closing = True
        if not answer.closing:
            self._finish(answer, fence, ending)
            return
        self._closings.begin(self._close_slowly(answer, fence, ending))

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
        await self._closings.ended()

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
